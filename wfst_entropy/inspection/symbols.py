"""The text of labels: from the symbol tables given, or those that an Fsa carries."""

from __future__ import annotations

from torch import Tensor

from wfst_entropy.fsa import Fsa, RaggedTensor, SymbolTable

EPSILON_SYMBOLS = frozenset({"<eps>", "<epsilon>", "<EPS>", "<ε>", "ε"})
"""What symbol tables call the empty string; only id 0 means it."""


def tables_of(
    fsa: Fsa, labels_sym: SymbolTable | None = None, aux_labels_sym: SymbolTable | None = None
) -> tuple[SymbolTable | None, SymbolTable | None]:
    """The tables of input and output labels: the arguments, else the Fsa's attributes.

    As with k2, an Fsa carries its tables in the attributes `labels_sym` and `aux_labels_sym`.

    >>> fsa = Fsa.from_str("0 1 -1 0\\n1").set_attribute_("labels_sym", SymbolTable([("a", 1)]))
    >>> tables_of(fsa)
    (SymbolTable(1 symbols), None)
    """
    if labels_sym is None:
        labels_sym = fsa.attributes.get("labels_sym")
    if aux_labels_sym is None:
        aux_labels_sym = fsa.attributes.get("aux_labels_sym")
    return labels_sym, aux_labels_sym


def text_of(label: int, table: SymbolTable | None) -> str:
    """The symbol of a label; ε for epsilon, and the number where no table knows it.

    >>> table = SymbolTable([("<eps>", 0), ("a", 1)])
    >>> [text_of(label, table) for label in (0, 1, 7, -1)]
    ['ε', 'a', '7', '-1']
    >>> text_of(0, SymbolTable([("<blk>", 0)]))
    '<blk>'
    """
    symbol = table.get(label) if table is not None and label >= 0 else None
    if symbol is None:
        return "ε" if label == 0 else str(label)
    return "ε" if label == 0 and symbol in EPSILON_SYMBOLS else symbol


def described(label: int, table: SymbolTable | None) -> str:
    """The symbol with its id, for messages.

    >>> described(1, SymbolTable([("a", 1)])), described(2, None)
    ("'a' (id 1)", 'label 2')
    """
    symbol = table.get(label) if table is not None and label >= 0 else None
    if symbol is None:
        return "epsilon (label 0)" if label == 0 else f"label {label}"
    return f"{symbol!r} (id {label})"


def output_labels(fsa: Fsa) -> list[list[int]] | None:
    """The labels that each arc puts out, without epsilon and -1; None for an acceptor.

    `aux_labels` may be a tensor (one label an arc) or ragged (several).

    >>> output_labels(Fsa.from_str("0 1 5 50 0\\n1 2 -1 -1 0\\n2"))
    [[50], []]
    """
    value = fsa.attributes.get("aux_labels")
    if isinstance(value, RaggedTensor):
        return [[label for label in row if label > 0] for row in value.tolist()]
    if isinstance(value, Tensor):
        return [[label] if label > 0 else [] for label in value.tolist()]
    return None
