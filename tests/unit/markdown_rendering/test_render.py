"""Markdown as HTML: what comes out is on a closed list, whatever goes in."""

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from markdown_rendering import MAX_CHARS, render
from markdown_rendering.render import ATTRIBUTES, REL, TAGS, _render

OPENS = f'target="_blank" rel="{REL}"'


def in_order(html: str) -> str:
    """The cleaner writes attributes in any order. Without directions, which have a test of their own."""
    return re.sub(' dir="(auto|ltr)"', "", html.replace(f'rel="{REL}" target="_blank"', OPENS))


class Found(HTMLParser):
    """The elements of a text, and its words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data}")


def safe(html: str) -> Found:
    """The elements, after a look at each of them."""
    found = Found(html)
    for tag, attributes in found.elements:
        assert tag in TAGS, html
        for name, value in attributes.items():
            assert value is not None
            if tag == "a" and name in {"target", "rel"}:
                assert value == {"target": "_blank", "rel": REL}[name]
            else:
                assert name in ATTRIBUTES.get(tag, ()), html
            if name == "href":
                assert value.lower().startswith(("http:", "https:", "mailto:")), html
        if tag == "a":
            assert {"target", "rel"} <= attributes.keys()
    return found


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Hello *you* and **you**", "<p>Hello <em>you</em> and <strong>you</strong></p>"),
        ("one\ntwo", "<p>one<br>\ntwo</p>"),
        ("~~gone~~", "<p><s>gone</s></p>"),
        ("# Title", "<h1>Title</h1>"),
        ("> said", "<blockquote>\n<p>said</p>\n</blockquote>"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("7. a", '<ol start="7">\n<li>a</li>\n</ol>'),
        ("`a < b`", "<p><code>a &lt; b</code></p>"),
        ("```Python title\nx = 1\n```", '<pre><code class="language-python">x = 1\n</code></pre>'),
        ("```c++\n```", '<pre><code class="language-c++"></code></pre>'),
        ("```\nx", "<pre><code>x</code></pre>"),
        ("    x", "<pre><code>x\n</code></pre>"),
        ("5 < 6 & 7", "<p>5 &lt; 6 &amp; 7</p>"),
        ("<b>bold</b>", "<p>&lt;b&gt;bold&lt;/b&gt;</p>"),
        ("[x](https://a.example)", f'<p><a href="https://a.example" {OPENS}>x</a></p>'),
        ("see https://a.example.", f'<p>see <a href="https://a.example" {OPENS}>https://a.example</a>.</p>'),
        ("[x](https://a.example 'title')", f'<p><a href="https://a.example" {OPENS}>x</a></p>'),
        ("[x][1]\n\n[1]: https://a.example", f'<p><a href="https://a.example" {OPENS}>x</a></p>'),
        ("run main.py or ask a@b.example", "<p>run main.py or ask a@b.example</p>"),
        ("", ""),
    ],
)
def test_what_people_write_becomes_what_they_mean(text: str, html: str) -> None:
    assert in_order(render(text)).strip() == html


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("“https://a.example/x”", "https://a.example/x"),
        ("“See https://a.example/x.” And more", "https://a.example/x"),
        ("«https://a.example/x»—so", "https://a.example/x"),
        ("‘https://a.example/x’ and", "https://a.example/x"),  # noqa: RUF001
        ("https://a.example/it’s/x", "https://a.example/it%E2%80%99s/x"),  # noqa: RUF001
        ("请看https://a.example/x。好", "https://a.example/x"),
        ("(https://a.example/x_(y))", "https://a.example/x_(y)"),
    ],
)
def test_a_bare_address_ends_where_its_quotation_does(text: str, address: str) -> None:
    html = render(text)
    assert [attributes["href"] for tag, attributes in safe(html).elements if tag == "a"] == [address]
    assert Found(html).words.strip() == text


@pytest.mark.parametrize(
    "text",
    [
        r"\(a_1 * b_2 * c\)",
        r"\[ x \\ y \]",
        r"\[a\\\]",
        "$a_1*b*c_2$",
        r"$\$5 < x$",
        "$$a_1 \n b_1$$",
        r"\begin{matrix} a & b \\ c_1 & d_1 \end{matrix}",
        "$x$",
        r"\(\text{<b>}\)",
        r"\(\text{مساحة_1}\)",
    ],
)
def test_a_formula_in_a_text_stays_as_it_was_written(text: str) -> None:
    found = safe(render(f"So {text}, *really*"))
    assert found.words == f"So {text}, really\n"
    assert [name for name, _ in found.elements] == ["p", "code", "em"]
    assert found.elements[1][1] == {"class": "math", "dir": "ltr"}


@pytest.mark.parametrize(
    "text",
    [
        "\\[\nx_1 \\\\\n- y_1\n= z\n\\]",
        "$$\n# a_1*b*\n+ <b>\n$$",
        "\\begin{align*}\na &= b \\\\\n> c &= d_1*e*\n\\end{align*}",
        "\\[ x \\\\ y \\].",
        "$$x$$",
        # Being written: what stands alone on its line goes on up to the end of the paragraph.
        "\\[\nx_1 \\\\ y",
        "\\begin{align}\na_1 &= b_1",
        "$$\nx_1*y*",
        "\\[",
    ],
)
def test_a_formula_on_lines_of_its_own_is_a_block(text: str) -> None:
    found = safe(render(f"Before\n{text}\n\nAfter *it*"))
    assert [name for name, _ in found.elements] == ["p", "pre", "p", "em"]
    assert found.elements[1][1] == {"class": "math", "dir": "ltr"}
    assert found.words == f"Before\n{text}\nAfter it\n"
    assert [name for name, _ in safe(render(f"- a\n  {text.replace(chr(10), chr(10) + '  ')}\n- b")).elements] == [
        "ul",
        "li",
        "pre",
        "li",
    ]


def test_scripts_without_spaces_may_stand_close_to_a_formula() -> None:
    found = safe(render("当$x_1$时，函数$f_1$的值"))  # noqa: RUF001
    assert [name for name, _ in found.elements] == ["p", "code", "code"]
    assert found.words == "当$x_1$时，函数$f_1$的值\n"  # noqa: RUF001


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $10",
        "$HOME/$USER or $A=$B",
        "from $5/$10 to $7",
        "$ 5 and 6$",
        "US$5 to US$ or so",
        r"\$5 and $6",
        "$HOME and $PATH",
        "$",
        "$$",
        "$$$$",
        "a $$ b",
        "5$",
        "$5\n\nand 6$",
        r"\(a",
        r"\(\)",
        r"\begin{x} a",
        r"\[a",
        "`$a$`",
        "```\n$$\nx\n$$\n```",
        "    $$x$$",
    ],
)
def test_prices_and_what_is_not_closed_are_no_formulas(text: str) -> None:
    html = render(f"{text}\n\n*after*")
    assert "math" not in html
    assert "<em>after</em>" in html


def test_a_formula_that_is_not_closed_swallows_nothing() -> None:
    assert "<strong>b</strong>" in render("a \\(x **b**\n\n`c` \\)")
    assert "<strong>b</strong>" in render("$x **b**\n\n$")
    assert "<li" in render("\\[ x\n- a\n")
    assert "<strong>b</strong>" in render("\\[\nx\n\n**b**")


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("# שלום", "h1=auto"),
        ("مرحبا\n\nhello", "p=auto p=auto"),
        ("1. مرحبا\n\n   اثنان\n   - three\n", "ol=auto li p p ul li"),
        ("- a\n\n  > b\n", "ul=auto li p blockquote p"),
        ("> # عنوان\n>\n> - b\n", "blockquote=auto h1 ul li"),
        ("|أب|b|\n|-|-:|\n|1|2|\n", "table=auto thead tr th th tbody tr td td"),
        # What is never read from right to left, and does not decide how the text around it is read.
        ("`ls -l;` مرحبا", "p=auto code=ltr"),
        ("$x$ مرحبا", "p=auto code=ltr"),
        ("https://a.b/ <https://c.d> [مرحبا](https://e.f)", "p=auto a=ltr a=ltr a"),
        ("$$x$$\n```py\nx\n```\n\n    y\n", "pre=ltr pre=ltr code pre=ltr code"),
        ("x" * (MAX_CHARS + 1), "pre=auto"),
    ],
)
def test_each_block_runs_in_the_direction_of_its_first_letter(text: str, elements: str) -> None:
    directions = [(tag, attributes.get("dir")) for tag, attributes in safe(render(text)).elements]
    assert " ".join(f"{tag}={value}" if value else tag for tag, value in directions) == elements


def test_a_table_keeps_its_alignment_without_a_style() -> None:
    html = in_order(render("| a | b | c |\n|---|:-:|--:|\n| 1 | `2` | 3 |"))
    assert "<th>a</th>" in html
    assert '<td align="center"><code>2</code></td>' in html
    assert '<th align="right">c</th>' in html
    assert "style" not in html


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("![cat](https://a.example/cat.png)", f'<p><a href="https://a.example/cat.png" {OPENS}>cat</a></p>'),
        (
            "![](https://a.example/c.png)",
            f'<p><a href="https://a.example/c.png" {OPENS}>https://a.example/c.png</a></p>',
        ),
        ("[![b](https://i.example/b.png)](https://a.example)", f'<p><a href="https://a.example" {OPENS}>b</a></p>'),
        ("![cat](/cat.png)", "<p>cat</p>"),
        ("![x](data:image/png;base64,AAAA)", "<p>x</p>"),
    ],
)
def test_an_image_is_a_link_and_loads_nothing(text: str, html: str) -> None:
    assert in_order(render(text)).strip() == html


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<iframe src='https://e.example'></iframe>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](javascript&colon;alert(1))",
    "[x](%6aavascript:alert(1))",
    "[x](vbscript:x)",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](//evil.example)",
    "[x](/logout)",
    "[x](file:///etc/passwd)",
    "[x](https:javascript:alert(1))",
    "<javascript:alert(1)>",
    '<https://a.example/"onmouseover=alert(1)>',
    "[a]: javascript:alert(1)\n\n[a]",
    '[x](https://a.example "onmouseover=alert(1)")',
    '[x](https://a.example" onmouseover="alert(1))',
    "![x](javascript:alert(1))",
    '![x" onerror="alert(1)](https://a.example)',
    '![x](https://a.example/"onload=alert(1))',
    '```"><script>alert(1)</script>\nx\n```',
    '```js" onload="x\nx\n```',
    "``` <img/src=x>\nx\n```",
    "| <b onclick=x> |\n|-|\n| <script> |",
    "<!-- x --> <!DOCTYPE x> <?php ?> <![CDATA[x]]>",
    "</p></div><style>*{}</style>",
    "https://a.example/<script>",
    'https://a.example/"onmouseover="alert(1)',
    'mailto:a@b.example?subject="><script>',
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\u2028<script>\u2029",
    "a\x00<b",
    "\ud800",
    "[x](https://\ud800)",
    "http://[::1",
    "http://\u202eelpmaxe.a",
    "[x](http://xn--\u00ff)",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_comes_through(text: str) -> None:
    safe(render(text))


PIECES = st.sampled_from(
    ["\n", "\n\n", " ", "    ", "- ", "1. ", "> ", "# ", "```", "~~~", "`", "*", "_", "**", "~~", "|", "|-|-|\n", "![",
     "[", "](", ")", "](https://a.b)", "<", ">", "<a href=x>", "javascript:", "https://", "mailto:", "&#x6a;", "\\",
     "\\(", "\\)", "\\[", "\\]", "$", "$$",
     '"', "'", "[a]: ", "\t", "\x00", "\ud800", "\u202e", "x", "//", "data:", "onload=", "<!--", "</code>", "==="]
)  # fmt: skip


@given(st.lists(PIECES | st.text(max_size=5), max_size=60).map("".join))
def test_whatever_goes_in_only_the_list_comes_out(text: str) -> None:
    safe(render(text))


@given(st.text(alphabet="ab ", min_size=1, max_size=50))
def test_plain_words_stay_as_they_are(text: str) -> None:
    assert Found(render(text)).words.split() == text.split()


def test_what_is_too_long_comes_as_it_is() -> None:
    text = "*a* <b> & " * (MAX_CHARS // 10 + 1)
    html = render(text)
    assert [tag for tag, _ in safe(html).elements] == ["pre"]
    assert Found(html).words == text


# Each was the worst of its kind, or endless before it was bounded.
LONG = 16_000
SLOW = {
    "brackets": "[" * LONG,
    "images": "![" * (LONG // 2),
    "slashes": "//a.b/" * (LONG // 6),
    "short rows": ("|a" * 64 + "\n" + "|-" * 64 + "\n" + "|\n" * 1000 + "\n") * 7,
    "wide rows": ("|a" * 500 + "\n" + "|-" * 500 + "\n" + "|\n" * 130 + "\n") * 7,
    "lists": "- a\n" * (LONG // 4),
    "quotes": "> - > - a\n" * (LONG // 10),
    "deep quotes": ">" * LONG,
    "open title": "[a]: b '" + "x\n" * (LONG // 2 - 8),
    "stars": "*a **a " * (LONG // 7),
    "backticks": "".join("`" * n + " " for n in range(180)),
    "addresses": "http://a.b/?" * (LONG // 12),
    "formulas": "\\(" * (LONG // 2),
    "formulas of dollars": "$" * LONG,
    "dollars with letters": "a $b " * (LONG // 5),
    "formulas in lines": "\\[\n" * (LONG // 3),
    "closed formulas in lines": "$$x\n" * (LONG // 4),
    "environments": "\\begin{a}" * (LONG // 9),
    "environments in lines": "\\begin{a}x\n" * (LONG // 11),
    "backslashes": "\\(" + "\\" * (LONG - 9) + ")",
    "escaped ends": "\\(" + "\\\\)" * (LONG // 3 - 9),
    "formulas in quotations": "> $$\n" * (LONG // 5),
    "mails": "a@b.c" * (LONG // 5),
}


@pytest.mark.parametrize("name", SLOW)
def test_the_worst_texts_cost_a_bounded_time_and_space(name: str) -> None:
    text = SLOW[name][:LONG]
    began = time.process_time()
    html = _render(text)
    # Measured: at most 0.3 s; tables alone took 12 s.
    assert time.process_time() - began < 3
    assert len(html) < 20 * LONG


@pytest.mark.parametrize("piece", ["\\(", "$", "\\[\n", "$a ", "\\begin{a}", "$$\n", "\\(\\)"])
def test_the_longest_text_of_formulas_costs_a_bounded_time(piece: str) -> None:
    began = time.process_time()
    html = _render((piece * MAX_CHARS)[:MAX_CHARS])
    assert time.process_time() - began < 5
    assert len(html) < 40 * MAX_CHARS


def test_a_table_ends_where_it_grows_too_large() -> None:
    html = render("|a|b|\n|-|-|\n" + "|1|2|\n" * 9000)
    assert 4_000 < html.count("<td>") <= 10_000
    assert Found(html).words.count("1") == 9000
