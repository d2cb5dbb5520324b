"""Formulas as MathML, which browsers draw by themselves: no script, no network, and the colours of the theme."""

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml


def write_inline(translator, node) -> None:
    translator.body.append(tex2mathml(node.astext()))
    raise SkipNode


def write_block(translator, node) -> None:
    translator.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>\n')
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(write_inline, None), block_renderers=(write_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
