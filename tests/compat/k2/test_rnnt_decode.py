"""k2's RNN-T decoding streams: what recipes and k2's own users do with them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from wfst_entropy.compat import k2

VOCAB = 10


def three_graphs() -> list[k2.Fsa]:
    """Different ones, with different attributes."""
    generator = torch.Generator().manual_seed(3)
    graphs = [k2.ctc_topo(5), k2.trivial_graph(3), k2.ctc_topo(3, modified=True)]
    for graph in graphs:
        graph.scores = torch.randint(-20, 0, (graph.num_arcs,), generator=generator).float() / 8
    graphs[0].one = torch.ones(graphs[0].num_arcs, dtype=torch.int32)
    graphs[1].one = torch.full((graphs[1].num_arcs,), 2, dtype=torch.int32)
    graphs[1].weight = torch.full((graphs[1].num_arcs,), 0.5)
    graphs[1].weight_filler = 7.0
    graphs[2].lists = k2.RaggedTensor(torch.full((graphs[2].num_arcs, 2), 3, dtype=torch.int32))
    graphs[2].name = "third"
    return graphs


def decoded(
    graphs: list[k2.Fsa], config: k2.RnntDecodingConfig, frames: int
) -> tuple[k2.RnntDecodingStreams, Tensor, k2.RaggedShape]:
    """Streams after some frames, all log-probabilities and their shape."""
    generator = torch.Generator().manual_seed(4)
    streams = k2.RnntDecodingStreams([k2.RnntDecodingStream(g) for g in graphs], config)
    rows, of_frame, of_stream = [], [0], [0]
    for _ in range(frames):
        shape, contexts = streams.get_contexts()
        assert contexts.dtype == torch.int32
        assert contexts.shape == (shape.tot_size(1), config.decoder_history_len)
        rows.append(torch.randn(len(contexts), VOCAB, generator=generator).log_softmax(1))
        of_frame.append(of_frame[-1] + shape.tot_size(0))
        of_stream += (shape.row_splits(1)[1:] + of_stream[-1]).tolist()
        streams.advance(rows[-1])
    streams.terminate_and_flush_to_streams()
    shapes = [
        k2.ragged.create_ragged_shape2(row_splits=torch.tensor(splits, dtype=torch.int32))
        for splits in (of_frame, of_stream)
    ]
    return streams, torch.cat(rows), shapes[0].compose(shapes[1])


def test_lattices_of_different_graphs():
    graphs = three_graphs()
    streams, rows, shape = decoded(graphs, k2.RnntDecodingConfig(VOCAB, 2, 8.0, 3, 3), 5)
    plain = streams.format_output([3, 4, 5])
    assert plain.shape == (3, None, None)
    rows.requires_grad_()
    lattice = streams.format_output([3, 4, 5], log_probs=rows, t2s2c_shape=shape)
    assert torch.equal(lattice.scores, plain.scores)
    assert torch.equal(lattice.arcs.values(), plain.arcs.values())
    for value, part in ((1, 0), (2, 1)):
        assert set(lattice[part].one.tolist()) <= {0, value}
        assert value in lattice[part].one.tolist()
    assert set(lattice[2].one.tolist()) == {0}
    assert set(lattice[0].weight.tolist()) == {7.0}
    assert set(lattice[1].weight.tolist()) == {0.5, 7.0}
    assert [3, 3] in lattice[2].lists.tolist()
    assert lattice[0].lists.tolist() == [[]] * lattice[0].num_arcs
    assert lattice.name == "third"
    assert lattice.properties & k2.fsa_properties.TOPSORTED_AND_ACYCLIC
    lattice.get_tot_scores(use_double_scores=True, log_semiring=True).sum().backward()
    frame = torch.arange(5).repeat_interleave(
        shape.get_layer(1).row_splits(1).long()[shape.row_splits(1).long()].diff()
    )
    mass = torch.zeros(5).index_add(0, frame, rows.grad.sum(1))
    assert torch.allclose(mass, torch.tensor([3.0, 3, 3, 2, 1]), atol=1e-4)


def test_label_0_of_a_graph_is_a_blank_as_in_k2():
    """From the second state of the topology a blank leads back, and takes a frame."""
    streams, _, _ = decoded([k2.ctc_topo(1)], k2.RnntDecodingConfig(VOCAB, 1, 100.0, 99, 99), 2)
    lattice = streams.format_output([2])[0]
    paths = k2.random_paths(k2.create_fsa_vec([lattice]), True, 500)
    assert {len(path) for path in paths.tolist()[0]} == {3}  # two frames and the end
    assert sorted(set(lattice.labels.tolist())) == [-1, 0, 1]


def test_streams_go_on_in_another_company():
    graph = k2.trivial_graph(3)
    config = k2.RnntDecodingConfig(VOCAB, 2, 8.0, 4, 3)
    streams, _, _ = decoded([graph] * 2, config, 3)
    first, second = streams.src_streams
    assert (first.num_frames, str(first)) == (3, "RnntDecodingStream(num_frames=3), device : cpu\n")
    both = k2.RnntDecodingStreams([k2.RnntDecodingStream(graph), second], config)
    assert str(both).startswith("num_streams : 2\nstream[0] : ")
    _, contexts = both.get_contexts()
    both.advance(torch.zeros(len(contexts), VOCAB))
    both.terminate_and_flush_to_streams()
    lattice = both.format_output([1, 4], allow_partial=True)
    assert lattice[0].num_arcs == 3 + 3  # three contexts and their ends
    assert second.num_frames == 4
    assert lattice[1].num_arcs > streams.format_output([3, 3])[1].num_arcs


def test_a_nan_is_an_error():
    stream = k2.RnntDecodingStream(k2.trivial_graph(2))
    config = k2.RnntDecodingConfig(VOCAB, 1, 8.0, 4, 3)
    streams = k2.RnntDecodingStreams([stream], config)
    with pytest.raises(ValueError, match=r"log_probs\[0, 2\]: is nan"):
        streams.advance(torch.tensor([0, 0, float("nan")] + [0.0] * 7)[None])
