"""What workers and programs ask for: checked, cut into what one entry may do, submitted, answered.

It must not know how a request came, who leads, or what a change does.
"""
