"""The prefix plan: which tokens are computed once, and in which batches. Pure functions on token tuples.

Requests become a forest. A *block* is a prefix shared by many rows (the shots of a task); it is
computed once and its keys and values are handed to every batch. A *trunk* is what the branches of
one row share (a doc's context); its *branches* are the choices. What goes where is decided by a
small dynamic programme over the radix tree of all inputs that minimises computed tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T", tuple[int, ...], str)
MIN_BLOCK = 16
"""A shared prefix shorter than this is not worth a pass of its own."""
MAX_BLOCK_CHAIN = 8
"""How many enclosing prefixes are tried as blocks for one node: bounds the planning time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large one batch may be, in tokens."""

    batch_tokens: int
    """Rows times the widest row."""
    logit_rows: int
    """Rows of logits held at once: a row is as wide as the vocabulary."""
    cached_tokens: int
    """Rows times their whole length, shared block included: what keys and values take."""
    width: int
    """The longest row the model can hold."""
    block_overhead: int = 256
    """What a separate block costs beside its own tokens, in tokens: smaller batches, one more call."""
    row_branch_tokens: int = 1024
    """The most branch tokens one row may carry: a packed row pays attention over all of them."""
    batch_overhead: int = 64
    """What one more batch costs, in tokens: batches end where padding would cost more."""
    growth: int = 0
    """Tokens each row will be continued by: they take room in the cache."""


@dataclass(frozen=True, slots=True)
class PlanReader:
    """One request's view of an input: `targets[k]` is predicted by the row at `first_row + k`."""

    request: int
    first_row: int
    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PlanLeaf:
    """A distinct model input and the requests that read from it."""

    tokens: tuple[int, ...]
    readers: tuple[PlanReader, ...]

    @property
    def first_row(self) -> int:
        """The earliest row that any reader needs."""
        return min(reader.first_row for reader in self.readers)


@dataclass(frozen=True, slots=True)
class PlanRow:
    """A trunk with its branches: `leaves` all begin with the first `depth` tokens of the first."""

    leaves: tuple[PlanLeaf, ...]
    start: int
    """Tokens already in the block."""
    depth: int
    """Length of the shared prefix, block included."""

    @property
    def trunk(self) -> tuple[int, ...]:
        """The shared tokens that the block does not hold."""
        return self.leaves[0].tokens[self.start : self.depth]

    @property
    def packed_width(self) -> int:
        """Tokens of the trunk and of all branches side by side."""
        return self.depth - self.start + sum(len(leaf.tokens) - self.depth for leaf in self.leaves)

    @property
    def longest_branch(self) -> int:
        """Tokens of the longest branch."""
        return max(len(leaf.tokens) for leaf in self.leaves) - self.depth

    @property
    def logit_rows(self) -> int:
        """How many logits rows the readers ask for."""
        return sum(len(reader.targets) for leaf in self.leaves for reader in leaf.readers)

    @property
    def requests(self) -> list[int]:
        """Numbers of all requests that read from this row."""
        return [reader.request for leaf in self.leaves for reader in leaf.readers]


@dataclass(frozen=True, slots=True)
class Block:
    """A shared prefix and the batches of rows that continue it."""

    tokens: tuple[int, ...]
    """The whole prefix, from the first token."""
    parent: int
    """Index of the block whose prefix this one extends, or -1."""
    batches: tuple[tuple[PlanRow, ...], ...]


@dataclass(frozen=True, slots=True)
class PrefixPlan:
    """Blocks in the order of computation: a parent stands before its children."""

    blocks: tuple[Block, ...]

    @property
    def rows(self) -> list[PlanRow]:
        """All rows of all blocks."""
        return [row for block in self.blocks for batch in block.batches for row in batch]


@dataclass(slots=True)
class _Node:
    """A node of the radix tree: leaves `low` to `high` share their first `depth` tokens."""

    depth: int
    low: int
    high: int
    children: list[_Node] = field(default_factory=list)
    block_depth: int = 0
    suffix_tokens: int = 0
    """Tokens of all leaves below, beyond `depth`."""


def make_plan(
    inputs: Sequence[tuple[tuple[int, ...], int, tuple[int, ...]]],
    limits: Limits,
    *,
    sharing: bool = True,
    known: tuple[int, ...] = (),
) -> PrefixPlan:
    """Lay out `inputs`, a list of (tokens, first_row, targets) whose index is the request's number.

    With `sharing=False` every distinct input is a row of its own and there are no blocks. `known` is a prefix that is
    computed already: as much of it as an input begins with is its block, where that is half of it or more.
    """
    if not inputs:
        return PrefixPlan(())
    leaves = _merge(inputs, prefixes=sharing)
    if not sharing:
        rows = [PlanRow((leaf,), 0, len(leaf.tokens)) for leaf in leaves]
        return PrefixPlan((Block((), -1, _fill(rows, 0, limits)),))
    found: list[_Found] = [((), -1, [])]
    behind: dict[int, list[PlanLeaf]] = {}
    for leaf in leaves:
        depth = min(common_prefix(leaf.tokens, known), leaf.first_row)
        behind.setdefault(depth if 2 * depth >= len(known) else 0, []).append(leaf)
    for depth, some in behind.items():
        if depth:
            found.append((known[:depth], 0, []))
        _lay_out(some, depth, len(found) - 1 if depth else 0, limits, found)
    return PrefixPlan(tuple(Block(tokens, parent, _fill(rows, len(tokens), limits)) for tokens, parent, rows in found))


_Found = tuple[tuple[int, ...], int, list[PlanRow]]
"""A block: its prefix, its parent, its rows."""


def _lay_out(leaves: Sequence[PlanLeaf], start: int, block: int, limits: Limits, found: list[_Found]) -> None:
    """Adds to `found` the rows of leaves that all begin with the `start` tokens of `found[block]`, and their blocks."""
    root = _radix_tree(leaves, start)
    _collect(root, block, _costs(root, limits), leaves, found)


def unmerged(context: tuple[int, ...], number: int) -> tuple[int, ...]:
    """The context with a last token that no other has: a context to continue is not read from a longer one that begins
    with it, because its text grows in a row of its own. No tokenizer has tokens below 0, and nobody reads this one.
    """
    return (*context, -1 - number)


def _merge(inputs: Sequence[tuple[tuple[int, ...], int, tuple[int, ...]]], *, prefixes: bool) -> list[PlanLeaf]:
    """Distinct inputs in lexicographic order; with `prefixes` one that begins another is read from the longer."""
    order = sorted(range(len(inputs)), key=lambda i: inputs[i][0], reverse=True)
    merged: list[tuple[tuple[int, ...], list[PlanReader]]] = []
    for i in order:
        tokens, first_row, targets = inputs[i]
        reader = PlanReader(i, first_row, targets)
        longer = merged[-1][0] if merged else ()
        if merged and (longer == tokens or (prefixes and longer[: len(tokens)] == tokens)):
            merged[-1][1].append(reader)
        else:
            merged.append((tokens, [reader]))
    return [PlanLeaf(tokens, tuple(sorted(readers, key=lambda r: r.request))) for tokens, readers in reversed(merged)]


def common_prefix(a: T, b: T) -> int:
    """Length of the common prefix, by bisection on slices (they compare in C)."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _radix_tree(leaves: Sequence[PlanLeaf], start: int) -> _Node:
    """Radix tree over sorted leaves that share `start` tokens, by the usual stack over neighbours' common prefixes."""
    stack = [_Node(start, 0, 0)]
    for index, leaf in enumerate(leaves):
        depth = common_prefix(leaves[index - 1].tokens, leaf.tokens) if index else start
        last: _Node | None = None
        while stack[-1].depth > depth:
            last = stack.pop()
            last.high = index
            if stack[-1].depth < depth:
                stack.append(_Node(depth, last.low, index))
            stack[-1].children.append(last)
        stack.append(_Node(len(leaf.tokens), index, index + 1))
    while len(stack) > 1:
        last = stack.pop()
        last.high = len(leaves)
        stack[-1].children.append(last)
    stack[0].high = len(leaves)
    return stack[0]


def _post_order(root: _Node) -> list[_Node]:
    order, todo = [], [root]
    while todo:
        node = todo.pop()
        order.append(node)
        todo.extend(node.children)
    order.reverse()
    return order


_Costs = dict[tuple[int, int], tuple[int, str]]
"""(id of node, depth of the block above it) → (tokens computed below the node, what to do there)."""


def _costs(root: _Node, limits: Limits) -> _Costs:
    """Cheapest layout of every node under every block that may enclose it, from the leaves up."""
    above: dict[int, list[int]] = {id(root): [root.depth]}
    for node in reversed(_post_order(root)):
        known = above[id(node)]
        node.block_depth = node.depth
        own = known
        if node.children and node.depth - root.depth >= MIN_BLOCK and len(known) < MAX_BLOCK_CHAIN:
            own = [*known, node.depth]
        for child in node.children:
            above[id(child)] = own
    costs: _Costs = {}
    for node in _post_order(root):
        node.suffix_tokens = sum(c.suffix_tokens + (c.depth - node.depth) * (c.high - c.low) for c in node.children)
        for start in above[id(node)]:
            costs[id(node), start] = _cheapest(node, start, costs, limits)
    return costs


def _cheapest(node: _Node, start: int, costs: _Costs, limits: Limits) -> tuple[int, str]:
    trunk = node.depth - start
    if not node.children:
        return trunk, "row"
    options = [(sum(costs[id(c), start][0] for c in node.children), "split")]
    if trunk > 0 and node.suffix_tokens <= limits.row_branch_tokens and node.high - node.low > 1:
        options.append((trunk + node.suffix_tokens, "row"))
    if trunk >= MIN_BLOCK and all((id(c), node.depth) in costs for c in node.children):
        below = sum(costs[id(c), node.depth][0] for c in node.children)
        options.append((limits.block_overhead + trunk + below, "block"))
    return min(options)


def _collect(root: _Node, root_block: int, costs: _Costs, leaves: Sequence[PlanLeaf], found: list[_Found]) -> None:
    """Walk the tree along the cheapest choices; fill `found`."""
    todo = [(root, root.depth, root_block)]
    while todo:
        node, start, block = todo.pop()
        choice = costs[id(node), start][1]
        if choice == "row":
            # The block may have been cut short of `start`, or not been made at all: the row reads the rest itself.
            real_start = len(found[block][0])
            found[block][2].append(PlanRow(tuple(leaves[node.low : node.high]), real_start, node.depth))
            continue
        if choice == "block":
            # A block's own rows are not read, so it must end before the first row any leaf needs.
            depth = min(node.depth, *(leaf.first_row for leaf in leaves[node.low : node.high]))
            if depth - len(found[block][0]) >= MIN_BLOCK:
                found.append((leaves[node.low].tokens[:depth], block, []))
                block = len(found) - 1
            # The costs below were counted under a block that ends here, wherever the real one was cut.
            start = node.depth
        # Reversed on a stack: children come in the order of their tokens, and a block stands before those inside it.
        todo.extend((child, start, block) for child in reversed(node.children))


def _fill(rows: list[PlanRow], start: int, limits: Limits) -> tuple[tuple[PlanRow, ...], ...]:
    """Batches of rows of like width, widest first, so that memory runs out early or never.

    Where one batch ends and the next begins is chosen to compute the fewest tokens, padding included, when every
    batch costs `limits.batch_overhead` tokens beside its own.
    """
    rows = sorted(rows, key=lambda r: -r.packed_width)
    best = [0] * (len(rows) + 1)
    first = [0] * (len(rows) + 1)
    for end in range(1, len(rows) + 1):
        best[end], first[end] = min(
            (best[begin] + tokens + limits.batch_overhead, begin)
            for begin, tokens in _batches_ending_at(end, rows, start, limits)
        )
    batches: list[tuple[PlanRow, ...]] = []
    end = len(rows)
    while end:
        batches.append(tuple(rows[first[end] : end]))
        end = first[end]
    return tuple(reversed(batches))


def _batches_ending_at(end: int, rows: Sequence[PlanRow], start: int, limits: Limits) -> Iterator[tuple[int, int]]:
    """(first row, tokens) of every batch that fits and whose last row is `rows[end - 1]`; one row always fits."""
    logit_rows = trunk = branch = branches = 0
    for begin in range(end - 1, -1, -1):
        row, count = rows[begin], end - begin
        width = row.packed_width
        logit_rows += row.logit_rows
        trunk, branch = max(trunk, row.depth), max(branch, row.longest_branch)
        branches += len(row.leaves)
        fits = (
            count * width <= limits.batch_tokens
            and logit_rows <= limits.logit_rows
            and max(count * (start + width + limits.growth), branches * (trunk + branch)) <= limits.cached_tokens
            and trunk + branch <= limits.width
        )
        if count > 1 and not fits:
            return
        yield begin, count * width
