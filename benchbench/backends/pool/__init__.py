"""Several engines that answer as one: a task's requests in chunks, each to whichever worker is free.

chunks    what one worker computes at a time: a function of the requests alone
worker    one engine in a process of its own, and what crosses to it
deal      chunks to workers as they become free; workers that die, and what becomes of their chunks
pool      the `Backend` over all that
ray       workers as actors of Ray, on this machine or on a cluster
"""
