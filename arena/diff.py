"""Which words two texts share, in the same order."""

from collections import defaultdict
from collections.abc import Hashable, Sequence


def shared(left: Sequence[Hashable], right: Sequence[Hashable]) -> tuple[set[int], set[int]]:
    """The places of a longest common subsequence in both: what remains are the fewest words that differ.

    One row of the table of lengths is one integer of len(right) bits, computed from the row above in a
    handful of operations (Hyyrö 2004), so that repetitive texts take no longer than others.
    """
    places: defaultdict[Hashable, int] = defaultdict(int)
    for place, word in enumerate(right):
        places[word] |= 1 << place
    ones = (1 << len(right)) - 1
    rows = [ones]  # a bit of row i is 0 where word i of the left makes the common part longer
    for word in left:
        above = rows[-1]
        met = above & places.get(word, 0)
        rows.append((above + met | above - met) & ones)
    i, j = len(left), len(right)
    both: tuple[set[int], set[int]] = (set(), set())
    while i and j:
        bit = 1 << j - 1
        if rows[i] & bit:
            j -= 1
        elif rows[i - 1] & bit:
            i, j = i - 1, j - 1
            both[0].add(i)
            both[1].add(j)
        else:
            i -= 1
    return both
