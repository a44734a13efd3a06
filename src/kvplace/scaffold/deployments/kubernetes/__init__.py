"""Objects of Kubernetes, the pods in them, and the values of charts."""
