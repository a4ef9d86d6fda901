"""Quantised weights as they are stored: several in one integer, with scales beside them."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from processors.facts.fields import Fields

INTEGERS: Mapping[str, int] = {
    "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "I64": 64, "U64": 64,
}  # fmt: skip
BESIDE = re.compile(
    r"(scales|_scale(_inv|_2)?|zeros|zero_point|g_idx|SCB|absmax|quant_map|weight_(format|shape))$"
    r"|\.quant_state\."
)
"""What quantisation keeps beside the weights: no parameters of the model."""


class Packing(NamedTuple):
    """`method` as a configuration names it, empty for none; `bits` of a weight, 0 if not said."""

    method: str = ""
    bits: int = 0

    def meant(self, name: str, dtype: str, elements: int) -> int:
        """How many parameters a tensor of so many elements stands for."""
        if not self.method:
            return elements
        if BESIDE.search(name):
            return 0
        width = INTEGERS.get(dtype, 0)
        if self.bits and width > self.bits:
            return elements * width // self.bits
        return elements


def packing_of(config: Fields) -> Packing:
    """What `quantization_config` says, in any of the forms that the usual tools write."""
    said = config.within("quantization_config")
    method = said.text("quant_method").lower()
    if not method:
        return Packing()
    return Packing(method, _bits(method, said))


def _bits(method: str, said: Fields) -> int:
    if method == "bitsandbytes":
        return 4 if said.flag("load_in_4bit") or said.flag("_load_in_4bit") else 8
    if bits := said.number("bits", "w_bit", "num_bits"):
        return bits
    if groups := said.within("config_groups").values():
        return next((bits for group in groups if (bits := _of_group(group))), 0)
    name = f"{method} {said.text('quant_algo', 'format', 'fmt')}".lower()
    if "fp4" in name:
        return 4
    return 8 if "fp8" in name or "int8" in name else 0


def _of_group(group: Any) -> int:
    return Fields(group).within("weights").number("num_bits")
