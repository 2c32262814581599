"""The live twin: the same rules on real sockets and a real Redis.

A gateway process imports this package and nothing heavy with it: simulation, tables and models stay with the driver.
"""
