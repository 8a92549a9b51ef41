"""The canvas in a bare page: no JupyterLab, no kernel, none of its style sheets."""

import base64

from driver import ROOT

MOUNT = """async ([code, css, state]) => {
  const decode = v => !v || typeof v !== 'object' ? v : Array.isArray(v) ? v.map(decode)
    : 'base64' in v ? new DataView(Uint8Array.from(atob(v.base64), c => c.charCodeAt(0)).buffer)
    : Object.fromEntries(Object.entries(v).map(([k, w]) => [k, decode(w)]));
  const heard = {}, values = decode(state);
  const model = {
    sent: [], get: k => values[k], send: m => model.sent.push(m), save_changes: () => {},
    set: (k, v) => { values[k] = v; (heard[k] || []).forEach(f => f()); },
    put: (k, v) => model.set(k, decode(v)),
    on: (name, f) => (heard[name.replace('change:', '')] ||= []).push(f),
    tell: m => heard['msg:custom'].forEach(f => f(m)),
    off: (name, f) => { name = name.replace('change:', ''); heard[name] = heard[name].filter(g => g !== f); },
  };
  const style = document.head.appendChild(document.createElement('style'));
  style.textContent = css;
  const widget = (await import(URL.createObjectURL(new Blob([code], {type: 'text/javascript'})))).default();
  window.model = model;
  window.show = () => { // first drawn, then placed, as JupyterLab does
    const el = document.createElement('div'), away = widget.render({model, el});
    document.body.append(el);
    return away;
  };
  window.away = window.show();
}"""


def plain(value):
    """A trait's value as JSON, bytes as base64."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def state(view) -> dict:
    """What a browser knows of a `RasterView`."""
    return plain({k: v for k, v in view.get_state().items() if not k.startswith("_")})


def mount(page, view) -> None:
    """Show a view: ``window.model`` is its model, ``window.show()`` makes a second view, ``window.away()`` ends one."""
    panels = ROOT / "clearview" / "panels"
    code, css = ((panels / f"view.{kind}").read_text() for kind in ("js", "css"))
    page.evaluate(MOUNT, [code, css, state(view)])
