"""The verbs of the command `sfsim` that stand in groups, and what their options have in common."""
