"""Delay breakdown, tables, pictures and the page, from ledgers made by hand."""

import re
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace

import networkx as nx
import pytest
from synthetic_run import CLIENTS, computation, ledger, message, run_directory

from sfsim.errors import ResultsError
from sfsim.ledger import Ledger
from sfsim.report import page as page_of
from sfsim.report import report, save_figures, timelines, where_time_went
from sfsim.report.delays import PARTS
from sfsim.report.figures import (
    accuracy_over_bytes,
    accuracy_over_time,
    bytes_over_time,
    delays,
    link_utilisation,
    loss_over_time,
)
from sfsim.report.style import NARROW, WIDE, figure
from sfsim.report.tables import (
    bytes_table,
    client_table,
    codecs,
    compare_table,
    delay_table,
    difference_table,
    energy_table,
    labels,
    link_table,
    outcome,
    provenance_table,
    results_table,
)
from sfsim.report.timeline import client_timelines
from sfsim.report.topology import draw, picture
from sfsim.results import Result, write

PICTURES = {
    "accuracy.png",
    "accuracy_bytes.png",
    "loss.png",
    "bytes.png",
    "delays.png",
    "links.png",
    "timelines.png",
}


def test_a_synchronous_chain_is_explained_to_the_end() -> None:
    computations = [
        computation("c", "forward", 0, 1, "c"),
        computation("c", "encode", 1, 1.5, "c"),
        computation("main server", "device queueing", 3.5, 4, "c"),
        computation("main server", "decode", 4, 4.25, "c"),
        computation("main server", "forward", 4.25, 5, "c"),
        computation("c", "backward", 6, 7, "c"),
        computation("c", "barrier", 7, 9, "c"),
        computation("fed server", "aggregate", 8.5, 9.5),
    ]
    messages = [
        message("c", "main server", 1.5, 3.5, sharing_s=0.5),
        message("main server", "c", 5, 6),
    ]
    assert timelines(messages, computations, 10.0) == {
        "c": [
            (0.0, 1, "client compute"),
            (1, 1.5, "encode"),
            (1.5, 2.0, "link queueing"),
            (2.0, 3.5, "uplink"),
            (3.5, 4, "device queueing"),
            (4, 4.25, "decode"),
            (4.25, 5, "server compute"),
            (5, 6, "downlink"),
            (6, 7, "client compute"),
            (7, 8.5, "waiting at the barrier"),
            (8.5, 9.5, "server compute"),  # averaging keeps everyone who waits
            (9.5, 10.0, "waiting at the barrier"),  # done, and the run was not
        ]
    }


def test_a_server_that_comes_back_to_what_a_client_sent_does_not_make_its_wait_unexplained() -> None:
    computations = [
        computation("c", "forward", 0, 1, "c"),
        computation(
            "fed server", "decode", 7, 8, "c"
        ),  # of its last codec update, when the others' are there
    ]
    assert timelines([message("c", "fed server", 1, 2)], computations, 10.0)["c"] == [
        (0.0, 1, "client compute"),
        (1, 2, "uplink"),
        (2, 7, "waiting at the barrier"),
        (7, 8, "decode"),
        (8, 10.0, "waiting at the barrier"),
    ]


def test_a_turn_is_a_wait_and_a_hold_is_nobodys() -> None:
    computations = [
        computation("c", "forward", 0, 1, "c"),
        computation("main server", "turn", 2, 8, "c"),  # its smashed data lie there
        computation("main server", "hold", 0, 9, "c"),
        computation("main server", "forward", 8, 9, "c"),
    ]
    assert timelines([message("c", "main server", 1, 2)], computations, 10.0)["c"] == [
        (0.0, 1, "client compute"),
        (1, 2, "uplink"),
        (2, 8, "waiting for a turn"),
        (8, 9, "server compute"),
        (9, 10.0, "waiting at the barrier"),
    ]


def test_where_things_overlap_the_first_part_counts() -> None:
    computations = [
        computation("c", "forward", 1, 3, "c"),
        computation("main server", "optimiser", 3, 6, "c"),
        computation("main server", "turn", 0, 9, "c"),
    ]
    messages = [message("c", "main server", 2, 4), message("main server", "c", 3.5, 5)]
    assert timelines(messages, computations, 9.0)["c"] == [
        (0.0, 1, "waiting for a turn"),
        (1, 3, "client compute"),
        (3, 4, "uplink"),
        (4, 5, "downlink"),
        (5, 6, "server compute"),
        (6, 9.0, "waiting for a turn"),
    ]


def test_what_nothing_explains_is_other() -> None:
    lines = timelines([], [computation("c", "forward", 1, 2, "c"), computation("c", "loss", 3, 4, "c")], 4.0)
    assert [part for _, _, part in lines["c"]] == ["other", "client compute", "other", "client compute"]


def test_a_message_in_flight_at_the_end_lasts_until_the_end() -> None:
    lost = message("c", "main server", 1, float("nan"), delivered=False, sharing_s=9.0)
    assert timelines([lost], [computation("c", "forward", 0, 1, "c")], 3.0)["c"] == [
        (0.0, 1, "client compute"),
        (1, 3.0, "link queueing"),
    ]


def test_a_peer_message_is_uplink_for_one_and_downlink_for_the_other() -> None:
    lines = timelines([message("a", "b", 0, 2)], [], 2.0)
    assert lines == {"a": [(0.0, 2, "uplink")], "b": [(0.0, 2, "downlink")]}


def test_messages_between_servers_belong_to_no_client() -> None:
    assert timelines([message("main server", "fed server", 0, 2)], [], 2.0) == {}


def test_parts_add_up_to_the_run_and_no_second_counts_twice(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "a")
    rows = where_time_went(run)
    assert tuple(row.part for row in rows) == PARTS
    assert sum(row.mean_s for row in rows) == pytest.approx(run.end_s, rel=1e-12)
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    for client in CLIENTS:
        assert sum(row.by_client_s[client] for row in rows) == pytest.approx(run.end_s, rel=1e-12)
    by_part = {row.part: row for row in rows}
    assert by_part["other"].mean_s == 0
    assert by_part["uplink"].by_client_s["pi"] == pytest.approx(4 * 0.8 * 4 * (3 * 0.15 + 0.3))
    for line in timelines(ledger().messages, ledger().computations, run.end_s).values():
        assert line[0][0] == 0 and line[-1][1] == run.end_s
        assert all(a[1] == b[0] and a[2] != b[2] for a, b in pairwise(line))


def test_tables(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "a")
    assert bytes_table(run).rows[1] == (
        ("smashed data", "up", "uniform-8bit", "36", "144 kB", "36.58 kB", "576 B", "38.66 kB", "3.94", "0")
    )
    assert delay_table(run).rows[-1] == ("total", "37.8 s", "100.0 %", "")
    assert ("waiting at the barrier", "15.2 s", "40.3 %", "laptop: 27.4 s") in delay_table(run).rows
    head, rows = client_table(run).head, {row[0]: row[1:] for row in client_table(run).rows}
    assert set(rows) == set(CLIENTS)
    assert rows["laptop"][head.index("waiting at the barrier") - 1] == "27.4 s"
    assert link_table(run).rows[0] == ("pi → core", "45.12 kB", "31.8 %", "30.08 kbit/s", "16", "0")
    assert codecs(run) == "FG: uniform-8bit"


@pytest.mark.parametrize(
    ("used", "text"),
    [
        ({}, "-"),
        ({("smashed data", "up"): "ms", ("gradient", "down"): "ms"}, "ms"),
        ({("smashed data", "up"): "ms", ("gradient", "down"): "fp32"}, "F: ms"),
        (
            {("smashed data", "up"): "fp32", ("gradient", "down"): "ms", ("client model", "up"): "fp32"},
            "G: ms",
        ),
        (
            {("smashed data", "up"): "ms", ("smashed data", "down"): "fp32", ("gradient", "down"): "fp32"},
            "smashed_up: ms",
        ),
        (
            {("smashed data", "up"): "ms", ("gradient", "down"): "int8", ("client model", "peer"): "fp32"},
            "smashed_up: ms, gradient_down: int8",
        ),
    ],
)
def test_codecs_in_a_few_words(tmp_path: Path, used: dict[tuple[str, str], str], text: str) -> None:
    book = Ledger()
    for (kind, direction), codec in used.items():
        book.messages.append(message("a", "b", 0, 1, kind=kind, direction=direction, codec=codec))
    out = write(tmp_path / "a", book, scenario_table={"name": "x"}, scenario_hash="h", environment={})
    assert codecs(Result(out)) == text


def test_outcomes_in_words(tmp_path: Path) -> None:
    assert outcome(run_directory(tmp_path / "a")) == (
        "accuracy 0.8 reached at 28.3 s, round 3 (best 0.97 at 37.8 s)"
    )
    assert outcome(run_directory(tmp_path / "b", gain=0.1)) == (
        "accuracy 0.8 not reached in 4 rounds (best 0.6 at 37.8 s)"
    )
    assert outcome(run_directory(tmp_path / "c", target=None)) == "no target; best accuracy 0.97"
    assert outcome(run_directory(tmp_path / "d", gain=float("nan"))) == (
        "accuracy 0.8 not reached in 4 rounds (no evaluation gave a number: diverged)"
    )


def test_compare_has_one_row_per_run(tmp_path: Path) -> None:
    a = run_directory(tmp_path / "a", codec="fp32")
    b = run_directory(tmp_path / "b", codec="fp32", gain=0.1)
    c = run_directory(tmp_path / "c", codec="fp32", target=None, name="other")
    assert compare_table([a, b, c]).rows == [
        ("a", "fp32", "28.3 s (accuracy 0.8)", "0.97", "135.4 kB", "135.4 kB", "37.8 s"),
        ("b", "fp32", "not reached in 4 rounds", "0.6", "135.4 kB", "135.4 kB", "37.8 s"),
        ("c", "fp32", "no target", "0.97", "135.4 kB", "135.4 kB", "37.8 s"),
    ]
    assert labels([a, c]) == ["made-up", "other"]


def test_what_differs_between_runs_is_named_by_key(tmp_path: Path) -> None:
    a, b = run_directory(tmp_path / "a"), run_directory(tmp_path / "b")
    a.scenario["codecs"] = {"smashed_up": {"kind": "ae", "lambda_": 4.0}}
    b.scenario["codecs"] = {"smashed_up": {"kind": "cast"}}
    a.scenario["clients"] = [{"name": "pi", "count": 2}, {"name": "phone", "count": 1}]
    b.scenario["clients"] = [{"name": "pi", "count": 2}, {"name": "phone", "count": 3}]
    table = difference_table([a, b])
    assert table.head == ("key", "a", "b")
    assert table.rows == [
        ("codecs.smashed_up.kind", "ae", "cast"),
        ("codecs.smashed_up.lambda_", "4.0", "-"),
        ("clients.phone.count", "1", "3"),
    ]


def test_every_axis_has_a_unit(tmp_path: Path) -> None:
    run, other = run_directory(tmp_path / "a"), run_directory(tmp_path / "b", gain=0.1)
    for drawing in (
        accuracy_over_time([run, other]),
        bytes_over_time([run]),
        bytes_over_time([run, other]),
        delays([run]),
        delays([run, other]),
        link_utilisation(run),
        client_timelines(run),
    ):
        for ax in drawing.axes:
            assert re.search(r"\((s|min|h|ms|%.*)\)$", ax.get_xlabel()), ax.get_xlabel()


@pytest.mark.parametrize(("values", "ticks"), [((1e-3, 20), ["0.01", "1"]), ((2, 5), ["2", "3", "4"])])
def test_logarithmic_axes_say_numbers(values: tuple[float, float], ticks: list[str]) -> None:
    with figure(4, 3) as (drawing, axes):
        axes[0, 0].plot(values, values)
        axes[0, 0].set(xscale="log", yscale="log")
    drawing.canvas.draw()
    for axis in (axes[0, 0].xaxis, axes[0, 0].yaxis):
        texts = [tick.get_text() for minor in (False, True) for tick in axis.get_ticklabels(minor=minor)]
        assert set(ticks) <= set(texts) and not any("$" in text for text in texts)


def test_accuracy_shows_both_codec_on_and_off(tmp_path: Path) -> None:
    drawing = accuracy_over_time([run_directory(tmp_path / "a")])
    lines = {line.get_label(): list(line.get_ydata()) for line in drawing.axes[0].lines}
    assert lines["made-up, codec on"] == [0.45, 0.7, 0.95, 0.97]
    assert lines["made-up, codec off"] == [0.46, 0.71, 0.96, 0.98]


def test_bytes_end_at_the_total(tmp_path: Path) -> None:
    run, other = run_directory(tmp_path / "a"), run_directory(tmp_path / "b", rounds=2)
    drawing = bytes_over_time([run, other])
    for ax, direction in zip(drawing.axes, ("up", "down"), strict=True):
        ends = [line.get_ydata()[-1] for line in ax.lines]
        assert ends == [result.summary["wire_bytes"][direction] for result in (run, other)]


@pytest.mark.parametrize("large", ["up", "down", "peer"])
def test_no_bytes_leave_their_panel_and_no_legend_lies_on_them(tmp_path: Path, large: str) -> None:
    book = Ledger()
    for direction in ("up", "down", "peer"):
        size = 10**6 if direction == large else 10**3
        for end_s in (1, 2):
            book.messages.append(message("a", "b", 0, end_s, direction=direction, wire_bytes=size))
    book.computations.append(computation("a", "forward", 0, 2))
    runs = [
        Result(write(tmp_path / name, book, scenario_table={"name": name}, scenario_hash="h", environment={}))
        for name in ("a", "b")
    ]
    for drawing in (bytes_over_time(runs[:1]), bytes_over_time(runs)):
        drawing.draw_without_rendering()
        assert len(drawing.axes) == 3
        for ax in drawing.axes:
            bottom, top = ax.get_ylim()
            assert bottom == 0 and 2e6 < top < 2.5e6
            inside = ax.get_window_extent()
            for legend in (ax.get_legend(), *drawing.legends):
                assert legend is None or not legend.get_window_extent().overlaps(inside)


def test_codec_off_is_seen_under_an_equal_codec_on(tmp_path: Path) -> None:
    on, off, *_ = accuracy_over_time([run_directory(tmp_path / "a")]).axes[0].lines
    assert (on.get_label(), off.get_label()) == ("made-up, codec on", "made-up, codec off")
    assert off.get_zorder() < on.get_zorder()
    assert off.get_linewidth() > 2 * on.get_linewidth() and off.get_markersize() > 2 * on.get_markersize()


@pytest.mark.parametrize(("busy_s", "most"), [(9.9, 102), (5.0, 80), (0.1, 1.6)])
def test_no_link_is_busy_for_more_than_the_whole_run(tmp_path: Path, busy_s: float, most: float) -> None:
    run = run_directory(tmp_path / "a")
    run.links["busy_s"] = run.end_s / 10 * busy_s
    drawing = link_utilisation(run)
    drawing.draw_without_rendering()
    ax = drawing.axes[0]
    assert ax.get_xlim() == (0, pytest.approx(most))
    shown = [tick for tick in ax.get_xticks() if tick <= most]
    assert max(shown) <= 100
    assert all(text.get_window_extent().x1 <= drawing.bbox.x1 for text in ax.texts)


def test_a_long_round_is_shown_twice_whole_and_its_beginning(tmp_path: Path) -> None:
    assert len(client_timelines(run_directory(tmp_path / "a")).axes) == 1
    long = client_timelines(run_directory(tmp_path / "b", minibatches=12), round=1)
    assert [ax.get_title(loc="left") for ax in long.axes] == ["global round 1", "its first minibatches"]
    names = [text.get_text() for text in long.axes[0].get_yticklabels()]
    assert names == ["laptop", "phone", "pi", "main server", "fed server"]


def test_the_page_stands_alone(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "a")
    other = run_directory(tmp_path / "b", name="<b> & co", gain=0.1)
    page = report([run, other], tmp_path / "pages" / "page.html").read_text()
    assert "<h1>made-up, &lt;b&gt; &amp; co</h1>" in page and "<b>" not in page
    assert set(re.findall(r'src="(.{10})', page)) == {"data:image"}
    assert not re.search(r"<(script|link|iframe)|https?://(?!www.w3.org)|@import|url\(", page)
    assert page.count("<img alt=") == page.count("<source media=") == 5 + 2 * 2
    assert set(re.findall(r'srcset="(.{10})', page)) == {"data:image"}
    assert page.count("Client by client") == 2 and '<td class="s">laptop</td><td class="n">' in page
    assert "accuracy 0.8 reached at 28.3 s" in page and "not reached in 4 rounds" in page
    assert "a loss rate is configured and no packet was lost" in page
    assert report([run, other], tmp_path / "again.html").read_text() == page


def test_what_the_page_says_beside_its_pictures(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "a")
    assert results_table(run).rows == [
        ("test accuracy", "0.93", "0.95"),
        ("test accuracy, codec off", "0.94", "0.96"),
        ("validation accuracy", "0.95", "0.97"),
        ("validation accuracy, codec off", "0.96", "0.98"),
        ("validation loss", "0.7333", "0.55"),
        ("train loss", "0.7667", "0.575"),
    ]
    energy = energy_table(run)
    assert energy.rows[0][0] == "laptop" and energy.rows[-1][0] == "all"
    work = run.computations.groupby("party")["joules"].sum()
    assert [row[1] for row in energy.rows[:-1]] == [f"{work[row[0]]:.4g} J" for row in energy.rows[:-1]]
    coding = run.computations[run.computations["phase"].isin(("encode", "decode"))]["joules"].sum()
    assert energy.rows[-1] == ("all", f"{work.sum():.4g} J", f"{coding:.4g} J")
    run.computations["joules"] = 0.0
    assert not energy_table(run).rows
    run.environment |= {"processor": "made-up 9", "threads": 3, "commit": "abc", "versions": {"torch": "2"}}
    rows = dict(provenance_table(run).rows)
    assert rows.items() >= {
        "scenario hash": "0123456789abcdef", "sfsim": "0.1.0", "seed": "7", "processor": "made-up 9",
        "threads": "3", "commit": "abc", "libraries": "torch 2", "wall s": "1.5",
    }.items()  # fmt: skip


def test_accuracy_over_bytes_is_that_of_the_table(tmp_path: Path) -> None:
    runs = [run_directory(tmp_path / "a"), run_directory(tmp_path / "b", gain=0.1)]
    drawing = accuracy_over_bytes(runs)
    for line, run in zip(drawing.axes[0].lines, runs, strict=True):
        sent = [
            run.messages.loc[run.messages["delivered_s"] <= at, "wire_bytes"].sum()
            for at in run.rounds["time_s"]
        ]
        assert list(line.get_xdata()) == sent and list(line.get_ydata()) == list(
            run.rounds["validation_accuracy"]
        )


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("count", [1, 9])
def test_no_words_of_a_picture_lie_on_others_or_outside(tmp_path: Path, width: float, count: int) -> None:
    runs = [
        run_directory(tmp_path / f"run {n} of a study with long names", gain=0.05 * n)
        for n in range(1, count + 1)
    ]
    drawn = [
        draw(runs, width)
        for draw in (accuracy_over_time, accuracy_over_bytes, loss_over_time, bytes_over_time, delays)
    ]
    if count == 1:
        drawn += [client_timelines(runs[0], width=width), link_utilisation(runs[0], width)]
    for drawing in drawn:
        drawing.draw_without_rendering()
        parts = [*drawing.legends]
        for ax in drawing.axes:
            parts += [ax.xaxis.label, ax.yaxis.label, *ax.texts, *filter(None, [ax.get_legend()])]
            parts += [text for text in ax.get_yticklabels() if text.get_text()]
        boxes = [part.get_window_extent() for part in parts if getattr(part, "get_text", lambda: "x")()]
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
        assert all(drawing.bbox.x0 - 1 <= box.x0 and box.x1 <= drawing.bbox.x1 + 1 for box in boxes)
    looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in drawn[1].axes[0].lines]
    assert len(set(looks)) == len(looks) == count


def test_figures_go_into_the_run_directory(tmp_path: Path) -> None:
    run = run_directory(tmp_path / "a")
    save_figures(run)
    assert {path.name for path in (run.directory / "figures").iterdir()} == PICTURES


def test_a_run_in_which_nothing_happened_has_a_page_too(tmp_path: Path) -> None:
    out = write(tmp_path / "a", Ledger(), scenario_table={"name": "x"}, scenario_hash="h", environment={})
    assert "nothing was evaluated" in report([Result(out)], tmp_path / "page.html").read_text()
    assert compare_table([Result(out)]).rows[0][2:4] == ("no target", "-")


def test_a_page_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_of, "_image", lambda picture: "")
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match=r"page.html: cannot be written"):
        report([run_directory(tmp_path / "a")], tmp_path / "file" / "page.html")


def test_the_network_is_drawn(tmp_path: Path) -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    for client in ("a", "b"):
        graph.add_edge(client, "hub", link=SimpleNamespace(rate=1))
        graph.add_edge("hub", client, link=SimpleNamespace(rate=2 if client == "a" else 1))
    hosts = {"a": "a", "b": "b", "main server": "hub", "fed server": "hub"}
    path = draw(graph, hosts, tmp_path / "graph.png", lambda *edge: f"{graph.edges[edge]['link'].rate} bit/s")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ResultsError, match=r"graph.png: cannot be written"):
        draw(graph, hosts, path / "graph.png", lambda *edge: "")


@pytest.mark.parametrize("clients", [2, 4, 7, 10])
def test_words_around_a_cell_do_not_overlap_and_say_it(clients: int) -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    names = [f"phone-{number}" for number in range(clients)]
    for end in (*names, "main server"):
        cell = {"cell": SimpleNamespace(cell="lte")} if end in names else {}
        graph.add_edge(end, "hub", **cell)
        graph.add_edge("hub", end, **cell)
    hosts = {name: name for name in names} | {"main server": "main server", "fed server": "main server"}
    drawing = picture(graph, hosts, lambda source, _: f"{29.1 if source == 'hub' else 31.4} Mbit/s, 4 ms")
    drawing.draw_without_rendering()
    texts = [*drawing.axes[0].texts, *drawing.legends, drawing._suptitle]
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) == clients + 2 + 2
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(drawing.bbox.x0 <= box.x0 and box.x1 <= drawing.bbox.x1 for box in boxes)
    assert all(drawing.bbox.y0 <= box.y0 and box.y1 <= drawing.bbox.y1 for box in boxes)
    words = {text.get_text() for text in drawing.axes[0].texts}
    assert "phone-0\n↑ 31.4 Mbit/s, 4 ms\n↓ 29.1 Mbit/s, 4 ms" in words
    (legend,) = drawing.legends
    said = [text.get_text() for text in legend.get_texts()]
    assert said == ["cell lte: shared air, rates are means of one client alone"]
    dashed = [
        line for line in drawing.axes[0].lines if line.get_linestyle() == "--" and len(line.get_xdata())
    ]
    assert len(dashed) == clients


def test_links_between_inner_nodes_have_their_words_on_them() -> None:
    graph: nx.DiGraph[str] = nx.DiGraph()
    for a, b in (("a", "x"), ("x", "y"), ("y", "b")):
        graph.add_edge(a, b)
        graph.add_edge(b, a)
    texts = {text.get_text() for text in picture(graph, {"a": "a"}, lambda a, b: f"{a}{b}").axes[0].texts}
    assert texts == {"a\n↑ ax\n↓ xa", "xy", "yx", "x", "y", "b\n↑ by\n↓ yb"}
