"""Pruning of ONNX graphs: groups of units are cut out of a graph, or run on demand.

The graphs are those of ``PrunableGraph``, also rounded to int8.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

KEPT = "kept"
"""The input that says which units run."""
_RESULTS = 2
"""The outputs that stay: log-probabilities and their lengths."""


@dataclass(frozen=True)
class Group:
    """The names of the values around a group of units that run in one call."""

    runs: str
    """Whether any of them is kept."""
    before: str
    after: str


def groups_of(graph: Any) -> list[Group]:
    """The groups of units of a graph, in the order in which they run."""
    copied = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}

    def origin(name: str) -> str:
        return origin(copied[name]) if name in copied else name

    marks = [output.name for output in graph.output][_RESULTS:]
    triples = zip(marks[::3], marks[1::3], marks[2::3], strict=True)
    return [Group(runs, origin(before), origin(after)) for runs, before, after in triples]


def cut_out(proto: Any, kept: Sequence[bool], groups: Sequence[Sequence[int]]) -> Any:
    """The graph of one subnet.

    Args:
        proto: A graph with marks.
        kept: Whether each unit is kept. Those of a group that runs in part have gate 0.
        groups: The units of each group.
    """
    import numpy as np
    import onnx

    proto = copy.deepcopy(proto)
    graph = proto.graph
    skipped = {
        group.after: group.before
        for group, units in zip(groups_of(graph), groups, strict=True)
        if not any(kept[unit] for unit in units)
    }

    def stream(name: str) -> str:
        return stream(skipped[name]) if name in skipped else name

    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = stream(name)
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(kept), KEPT))
    _replace(graph.input, [value for value in graph.input if value.name != KEPT])
    _finish(graph)
    return proto


def on_demand(proto: Any) -> Any:
    """A graph with marks, in which only those groups are computed of which ``kept`` has a unit."""
    proto = copy.deepcopy(proto)
    graph = proto.graph
    groups = groups_of(graph)
    members = _members(graph, groups)
    ends = {id(nodes[-1]): i for i, nodes in enumerate(members)}  # of each group, what returns its stream
    weights = {tensor.name: tensor for tensor in graph.initializer}
    own = _own_weights(graph, members, weights)
    inside = {id(node) for nodes in members for node in nodes}
    nodes = []
    for node in graph.node:
        if (i := ends.get(id(node))) is not None:
            nodes.append(_conditional(groups[i], i, members[i], [weights[name] for name in own[i]]))
        elif id(node) not in inside:
            nodes.append(node)
    _replace(graph.node, [copy.deepcopy(node) for node in nodes])
    moved = {name for names in own for name in names}
    _replace(graph.initializer, [tensor for name, tensor in weights.items() if name not in moved])
    _finish(graph)
    return proto


def _members(graph: Any, groups: Sequence[Group]) -> list[list[Any]]:
    """The nodes of each group: the one that returns its stream, and those that serve only the group."""
    last = {group.after: i for i, group in enumerate(groups)}
    readers: dict[str, set[int | None]] = defaultdict(set)
    for group in groups:
        readers[group.runs].add(None)
        readers[group.before].add(None)
    for output in list(graph.output)[:_RESULTS]:
        readers[output.name].add(None)
    found: list[list[Any]] = [[] for _ in groups]
    for node in reversed(graph.node):
        ends = [last[name] for name in node.output if name in last]
        served: set[int | None] = {*ends} or {group for name in node.output for group in readers[name]}
        member = next(iter(served)) if len(served) == 1 else None
        if served:
            for name in node.input:
                readers[name].add(member)
        if member is not None:
            found[member].insert(0, node)
    return found


def _own_weights(graph: Any, members: Sequence[Sequence[Any]], weights: Any) -> list[list[str]]:
    """The initializers that only the nodes of a group read, by group."""
    place = {id(node): i for i, nodes in enumerate(members) for node in nodes}
    readers: dict[str, set[int | None]] = defaultdict(set)
    for node in graph.node:
        for name in node.input:
            readers[name].add(place.get(id(node)))
    return [[name for name in weights if readers[name] == {i}] for i in range(len(members))]


def _conditional(group: Group, number: int, nodes: Sequence[Any], weights: Sequence[Any]) -> Any:
    """The node that runs ``nodes`` if its condition holds, and passes the stream on if not."""
    from onnx import TensorProto, helper

    names = {group.after: f"{group.after}.run"}
    inner = [copy.deepcopy(node) for node in nodes]
    for node in inner:
        for i, name in enumerate(node.output):
            node.output[i] = names.get(name, name)
    skipped = f"{group.after}.skipped"
    branches = [
        helper.make_graph(body, f"group_{number}_{name}", [], [_stream(output, helper, TensorProto)], tensors)
        for name, body, output, tensors in (
            ("runs", inner, names[group.after], weights),
            ("skipped", [helper.make_node("Identity", [group.before], [skipped])], skipped, ()),
        )
    ]
    return helper.make_node(
        "If", [group.runs], [group.after], f"group_{number}", then_branch=branches[0], else_branch=branches[1]
    )


def _stream(name: str, helper: Any, types: Any) -> Any:
    return helper.make_tensor_value_info(name, types.FLOAT, ["batch", "frames", "dim"])


def _finish(graph: Any) -> None:
    """Remove the marks, all that served only them, and the types of values, which onnxruntime infers."""
    graph.ClearField("value_info")
    _replace(graph.output, list(graph.output)[:_RESULTS])
    needed, nodes = {output.name for output in graph.output}, list[Any]()
    for node in reversed(graph.node):
        if needed & {*node.output}:
            needed |= {*_reads(node)}
            nodes.insert(0, node)
    _replace(graph.node, nodes)
    _replace(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in needed])


def _reads(node: Any) -> Iterator[str]:
    """The values that a node reads, also within its branches."""
    yield from node.input
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _reads(inner)


def _replace(field: Any, values: Iterable[Any]) -> None:
    kept = [copy.deepcopy(value) for value in values]
    del field[:]
    field.extend(kept)
