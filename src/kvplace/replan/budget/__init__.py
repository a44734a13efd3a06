"""The best placement that costs no more than a budget, with a bound that nothing can be below."""
