"""Names for Krea 2 in diffusers, from `Krea2Transformer2DModel` and its conversion of checkpoints.

Some tools drop the `.0` of `to_out.0`, so both are here.
"""

from __future__ import annotations

from .rules import Rule, Table

_BLOCKS = {
    "transformer_blocks": "blocks",
    "text_fusion.layerwise_blocks": "txtfusion.layerwise_blocks",
    "text_fusion.refiner_blocks": "txtfusion.refiner_blocks",
}
_PARTS = {
    "attn.to_q": "attn.wq",
    "attn.to_k": "attn.wk",
    "attn.to_v": "attn.wv",
    "attn.to_gate": "attn.gate",
    "attn.to_out.0": "attn.wo",
    "attn.to_out": "attn.wo",
    "ff.gate": "mlp.gate",
    "ff.up": "mlp.up",
    "ff.down": "mlp.down",
}

TABLE = Table(
    name="Krea 2 in diffusers",
    needs=("blocks.0.attn.wq", "txtfusion.projector"),
    lacks=(),
    rules=(
        *(
            Rule(f"{theirs}.#.{their_part}", f"{ours}.#.{our_part}")
            for theirs, ours in _BLOCKS.items()
            for their_part, our_part in _PARTS.items()
        ),
        Rule("text_fusion.projector", "txtfusion.projector"),
        Rule("img_in", "first"),
        Rule("txt_in.linear_1", "txtmlp.1"),
        Rule("txt_in.linear_2", "txtmlp.3"),
        Rule("time_embed.linear_1", "tmlp.0"),
        Rule("time_embed.linear_2", "tmlp.2"),
        Rule("time_mod_proj", "tproj.1"),
        Rule("final_layer.linear", "last.linear"),
    ),
)
