"""Which stages run, in what order, until when."""
