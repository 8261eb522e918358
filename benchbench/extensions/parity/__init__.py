"""Do two engines give the same numbers? One model, the same docs, each engine in a process of its own."""
