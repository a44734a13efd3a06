"""What a model is: its demand, its load, its shape and how it is started."""
