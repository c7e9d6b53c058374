"""Do networks learn as well when their convolutions are computed by minimal filtering?"""
