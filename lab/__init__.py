"""What joins the rooms, which do not know each other: policies of every kind by name,
and the way to Compare and back.
"""
