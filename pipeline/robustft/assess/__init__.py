"""`robustft evaluate`: a model of anyone's, attacked, probed, and told on a card that says whether to trust it."""
