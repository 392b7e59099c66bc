"""Training: from the data a user has to a fitted model and its history."""
