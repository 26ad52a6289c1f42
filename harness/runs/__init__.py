"""Plans what a command asks for as steps, and does the steps; results go to the store."""
