"""Several engines that answer as one: a task's requests in chunks, each to whichever worker is free.

chunks    what one worker computes at a time: a function of the requests alone
worker    one engine in a process of its own, and what crosses to it
deal      chunks to workers as they become free; workers that die, and what becomes of their chunks
pool      the `Backend` over all that
alone     a crew of one, in this process
actor     a worker as an actor of Ray
cluster   a Ray cluster: how to reach it, and what each worker takes of it
alike     whether workers can stand beside each other
ray       the crew of such actors; lent for whole pieces of work, or together as one backend
"""
