"""`gateway doctor`: what is wrong here, or soon will be, and what mends it. It looks, and changes nothing.

Each module looks at one thing: the config, the machine, the store, the gateway that runs, the store of the leases, the networks.
"""
