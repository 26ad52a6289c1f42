"""The doing: from what was asked to a plan of steps, and from steps to results in the store."""
