"""From what a user has to a fleet file: models, hosts, demand, a deployment that runs."""
