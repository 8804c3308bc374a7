"""Style of the page; nothing is loaded from other servers."""

import gradio as gr

CSS = """
.gradio-container { max-width: 1480px !important; margin: 0 auto; padding: 20px 24px 40px !important; }
.html-container { padding: 0 !important; }
#main { display: grid; grid-template-columns: 290px minmax(0, 1fr); gap: 28px; align-items: start; }
#main > * { min-width: 0 !important; }
h1, h2 { font-weight: 650; letter-spacing: -0.01em; }
#intro h1 { font-size: 1.65rem; margin: 0 0 6px; }
#intro p, #ties-intro p { color: var(--body-text-color-subdued); line-height: 1.5; margin: 0; max-width: 110ch; }
#ties-intro { border-top: 1px solid var(--border-color-primary); padding-top: 18px; margin-top: 6px; }
#ties-intro h2 { font-size: 1.2rem; margin: 0 0 4px; }
.note { color: var(--body-text-color-subdued); font-size: 0.85rem; line-height: 1.4; margin: 0; }
.note b { color: var(--body-text-color); font-size: 0.95rem; display: block; }
.problem { color: var(--error-text-color); background: var(--error-background-fill); border-radius: 4px;
  border: 1px solid var(--error-border-color); padding: 8px 12px; margin: 0; }
.problem::first-letter { text-transform: uppercase; }
#steps { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 16px; align-items: start; }
#steps > *, #ties > * { min-width: 0 !important; gap: 8px; }
#ties { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: 20px; align-items: start; }
.drawn { aspect-ratio: 4 / 3; }
.drawn:has(img) { aspect-ratio: auto; }
.drawn img { cursor: crosshair; }
#heads .grid-wrap { max-height: none !important; padding: 0; }
#heads .caption-label { left: 0; right: auto; bottom: 0; max-width: 100%; padding: 1px 6px; font-size: 0.7rem;
  border-width: 0; border-radius: 0 4px 0 0; opacity: 0.9; }
#classes .wrap { max-height: 300px; overflow-y: auto; gap: 6px; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: center; min-height: 1.5em; }
.legend span { display: inline-flex; align-items: center; gap: 7px; font-size: 0.9rem; }
.legend i { width: 14px; height: 14px; border-radius: 3px; border: 1px solid var(--border-color-primary); }
.heat-bar { display: inline-block; width: 110px; height: 10px; border-radius: 3px; vertical-align: middle;
  background: linear-gradient(90deg, #000004, #420a68, #932667, #dd513a, #fca50a, #fcffa4); margin: 0 7px; }
@media (max-width: 900px) {
  #main { grid-template-columns: 220px minmax(0, 1fr); gap: 20px; }
  #ties { grid-template-columns: minmax(0, 1fr); }
}
@media (max-width: 640px) { #main { grid-template-columns: minmax(0, 1fr); } }
"""


def theme() -> gr.themes.Base:
    """Return a plain theme in the system fonts of the visitor."""
    return gr.themes.Default(
        primary_hue='teal', neutral_hue='slate', radius_size='md', font=('system-ui', 'sans-serif'),
        font_mono=('monospace',),
    ).set(
        body_background_fill='*neutral_50', body_background_fill_dark='*neutral_950',
        body_text_color_subdued='*neutral_600', body_text_color_subdued_dark='*neutral_400',
    )  # fmt: skip
