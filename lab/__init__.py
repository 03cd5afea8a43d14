"""What joins the rooms, which do not import each other: policies of every kind by name, and the way to
Compare and back.
"""
