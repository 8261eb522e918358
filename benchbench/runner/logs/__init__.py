"""Results beside the training: each finished run as points of curves in the loggers that a person looks at all day."""
