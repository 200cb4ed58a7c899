"""The dashboard in a real browser: real data, keyboard, both themes, the way back, and who may see it."""

import json
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from codekin.daemon.client import AsyncDaemonClient

INSTANCE = "echarts.getInstanceByDom(document.getElementById('chart'))"
CHART = f"{INSTANCE}.getOption()"
VIEWS = ("map", "duplicates", "index", "finetune")
LOW_CONTRASTS = (Path(__file__).parent / "contrast.js").read_text()
NAMELESS = """[...document.querySelectorAll('button, input, select')].filter(part =>
  !(part.textContent.trim() || part.labels?.length || part.getAttribute('aria-label')))"""

pytestmark = [pytest.mark.editor, pytest.mark.timeout(600)]


async def test_map_shows_the_code(dashboard, sample):
    """The map holds every chunk of the workspace in the header."""
    count = await dashboard.locator("#count").inner_text()
    assert int(count.split()[0]) > 50
    assert await dashboard.locator("#root").inner_text() == "storehouse"
    assert await dashboard.locator("#root").get_attribute("title") == str(sample)
    series = await dashboard.evaluate(f"{CHART}.series.map(s => [s.name, s.data.length])")
    assert {"elixir", "cpp"} <= {name for name, _ in series}
    assert sum(many for _, many in series) == int(count.split()[0])


async def test_colours_follow_the_choice(dashboard):
    """The colours stand for what was chosen."""
    for choice, known in (("module", {"lib/storehouse", "src"}), ("pattern", {"GenServer", "handle_call"})):
        await dashboard.locator("#colour").select_option(choice)
        names = await dashboard.evaluate(f"{CHART}.series.map(s => s.name)")
        assert known & set(names), names


async def test_search_narrows_the_places(dashboard):
    """Typing a name narrows the list and dims the rest of the map."""
    await dashboard.locator("#needle").fill("with_backoff")
    places = await dashboard.locator("#places button").all_inner_texts()
    assert (await dashboard.locator("#count").inner_text()).startswith(f"{len(places)} of ")
    assert places
    assert all("backoff" in place or "retry" in place for place in places)
    bright = f"{CHART}.series.flatMap(s => s.data).filter(d => !d.itemStyle).length"
    assert await dashboard.evaluate(bright) == len(places)
    await dashboard.locator("#places button").first.focus()
    await dashboard.locator("#chart").get_by_text(" · function").wait_for()


async def test_enter_searches_by_meaning_with_filters_and_a_regular_expression(dashboard):
    """The places are those of `codekin search`, best first, and typing narrows by name again."""
    await dashboard.locator("#needle").fill("try again after a failure lang:elixir -test")
    await dashboard.locator("#needle").press("Enter")
    await dashboard.locator("#places .score").first.wait_for()
    places = await dashboard.locator("#places button").all_inner_texts()
    assert any("retry" in place for place in places[:3])
    assert not [place for place in places if ".cpp:" in place or "test/" in place]
    counted = await dashboard.locator("#count").inner_text()
    await dashboard.locator("#grep").fill("def with_backoff")
    await dashboard.locator("#grep").press("Enter")
    await dashboard.wait_for_function("before => document.getElementById('count').textContent !== before", arg=counted)
    assert 1 <= await dashboard.locator("#places .score").count() < len(places)
    await dashboard.locator("#grep").fill("(")
    await dashboard.locator("#grep").press("Enter")
    await dashboard.locator("#message", has_text="is not a regular expression").wait_for()
    await dashboard.locator("#grep").fill("")
    await dashboard.locator("#needle").fill("with_backoff")
    assert await dashboard.locator("#places .score").count() == 0


async def test_a_point_tells_what_it_is_and_a_search_keeps_the_zoom(dashboard):
    """A point under the mouse has its name, and typing keeps the zoom."""
    x, y, name = await dashboard.evaluate(
        f"(() => {{ const {{ value }} = {CHART}.series[0].data[0];"
        f" return [...{INSTANCE}.convertToPixel({{ seriesIndex: 0 }}, value), value[3]]; }})()"
    )
    box = await dashboard.locator("#chart").bounding_box()
    await dashboard.mouse.move(box["x"] + x, box["y"] + y)
    await dashboard.locator("#chart").get_by_text(name.split(".")[-1]).first.wait_for()
    await dashboard.mouse.wheel(0, -600)
    await dashboard.wait_for_function(f"{CHART}.dataZoom[0].end < 100")
    await dashboard.locator("#needle").fill("a")
    assert await dashboard.evaluate(f"{CHART}.dataZoom[0].end") < 100
    await dashboard.locator("#whole").click()
    await dashboard.wait_for_function(f"{CHART}.dataZoom[0].end === 100")


async def test_every_view_by_keyboard(dashboard):
    """The arrow keys reach each view and what it shows."""
    await dashboard.locator("#tab-map").focus()
    for view, text in (("duplicates", "SecondRetry"), ("index", "huge.ex"), ("finetune", "MAP")):
        await dashboard.keyboard.press("ArrowRight")
        await dashboard.locator(f"#{view}[aria-busy=false]").get_by_text(text).first.wait_for()
        assert await dashboard.evaluate("document.activeElement.id") == f"tab-{view}"
        assert await dashboard.locator("section:visible").count() == 1
    await dashboard.keyboard.press("ArrowRight")
    await dashboard.keyboard.press("Tab")
    assert await dashboard.evaluate("document.activeElement.id") == "needle"


async def test_index_gives_reasons(dashboard):
    """A file that is left out has its reason."""
    await dashboard.locator("#tab-index").click()
    reason = dashboard.locator("#index details", has_text="huge.ex")
    assert len((await reason.locator("summary").inner_text()).split()) > 1


async def test_index_tells_how_completions_fare(dashboard, data, sample):
    """The outcomes of suggestions are counted."""
    client = await AsyncDaemonClient.connect(data)
    text = "defmodule Storehouse.Session do\n  use Gen"
    request = {"root": str(sample), "path": "lib/new.ex", "text": text, "line": 2, "column": 9, "wait": True}
    (item, *_) = (await client.post("/complete", {**request, "trigger": "invoked"}))["items"]
    for event in ("shown", "accepted"):
        assert (await client.post("/complete/events", {"root": str(sample), "id": item["id"], "event": event}))["known"]
    await client.close()
    await dashboard.locator("#tab-index").click()
    await dashboard.get_by_text("1 of 1 accepted (100 %)").wait_for()


async def test_the_history_shows_gain_interval_loss_and_decision(dashboard):
    """A run's figures stand in the table as well as in the picture."""
    await dashboard.locator("#tab-finetune").click()
    row = await dashboard.locator("#runs tr", has_text="0.560").inner_text()
    for words in ("0.490 → 0.560", "+7.0 points (+5.0 to +9.0)", "0.067", "activated"):
        assert words in row
    drawn = "echarts.getInstanceByDom(document.getElementById('finetune-runs')).getOption().series.map(s => s.name)"
    assert {"before", "after", "interval", "loss"} <= set(await dashboard.evaluate(drawn))
    interval = drawn.replace("map(s => s.name)", "find(s => s.name === 'interval')")
    assert await dashboard.evaluate(f"{interval}.data") == pytest.approx([0.04, 0.05, 0.04])
    assert await dashboard.evaluate(f"{interval}.type") == "bar", "a line would not show the only night's"


async def test_a_week_shows_the_gain_over_the_base_and_what_it_learned_from(dashboard):
    """One row a week: gain with its interval, kinds, BEAM patterns, sources, and why a model was refused."""
    await dashboard.locator("#tab-finetune").click()
    row = await dashboard.locator("#runs tr", has_text="71 % → 83 %").inner_text()
    for words in ("+7.0 (+5.0 to +9.0)", "half +5.0", "1500 triplets", "120 calls", "+0.5 points of MAP"):
        assert words in row


async def test_both_themes(page, address):
    """The page follows the system's theme until the button changes it."""
    await page.emulate_media(color_scheme="dark")
    await page.goto(address)
    await page.locator("html[data-theme=dark]").wait_for()
    dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    await page.locator("#theme").press("Enter")
    await page.locator("html[data-theme=light]").wait_for()
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") != dark


async def test_an_editor_chooses_the_theme(page, address):
    """The theme of the address wins over the system's."""
    await page.emulate_media(color_scheme="light")
    await page.goto(f"{address}&theme=dark")
    await page.locator("html[data-theme=dark]").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_everything_can_be_read(page, address, theme):
    """Contrast, names of controls and small windows are right in both themes."""
    await page.emulate_media(color_scheme=theme)
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.goto(address)
    for view in VIEWS:
        await page.locator(f"#tab-{view}").click()
        await page.locator(f"#{view}[aria-busy=false]").wait_for()
        assert await page.evaluate(LOW_CONTRASTS) == []
        assert await page.evaluate(f"{NAMELESS}.length") == 0
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360


async def test_views_say_that_they_load(page, address):
    """A view that waits for its data says so."""
    await page.route("**/data/map*", lambda route: None)
    await page.goto(address)
    await page.locator("#map[aria-busy=true]").wait_for()
    content = await page.evaluate("getComputedStyle(document.getElementById('map'), '::before').content")
    assert "Loading" in content


async def test_an_empty_map_says_why(page, address):
    """Without vectors the map says why it is empty."""
    await page.route("**/data/map*", lambda route: route.fulfill(json={"points": [], "total": 0}))
    await page.goto(address)
    await page.get_by_text("There is nothing to draw yet").wait_for()


async def test_rollback(dashboard, codekin, sample):
    """A click goes back to a checkpoint or to the model as it came, and the page shows it."""
    await dashboard.locator("#tab-finetune").click()
    await dashboard.get_by_role("button", name="Go back to this").first.click()
    await dashboard.get_by_role("alert").get_by_text("is searched with checkpoint").wait_for()
    assert json.loads(codekin("history", sample, "--json"))["active"] != "base"
    await dashboard.get_by_role("button", name="Go back to the model as it came").click()
    await dashboard.get_by_role("alert").get_by_text("the model as it came").wait_for()
    await dashboard.get_by_text("The model as it came is active.").wait_for()
    assert json.loads(codekin("history", sample, "--json"))["active"] == "base"


async def test_a_click_reaches_the_editor(dashboard, data, sample):
    """The editor that has the folder open shows the place that was clicked."""
    client = await AsyncDaemonClient.connect(data)
    async with aclosing(client.events(str(sample))) as events:
        assert (await anext(events))["event"] == "connected"
        await dashboard.locator("#needle").fill("with_backoff")
        place = dashboard.locator("#places button[title*='lib/storehouse/retry.ex:']").first
        line = (await place.locator("small").inner_text()).rpartition(":")[2]
        await place.click()
        shown = None
        async for event in events:
            if event["event"] == "show":
                shown = event["path"], event["line"]
                break
        await dashboard.evaluate(f"{INSTANCE}.trigger('click', {{ value: {CHART}.series[0].data[0].value }})")
        async for event in events:
            if event["event"] == "show":
                break
        assert event["path"] == await dashboard.evaluate(f"{CHART}.series[0].data[0].value[5]")
    await client.close()
    assert shown == ("lib/storehouse/retry.ex", int(line))


async def test_asks_nobody_else(page, address):
    """The page requests nothing from another host."""
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    await page.goto(address)
    for view in VIEWS:
        await page.locator(f"#tab-{view}").click()
        await page.locator(f"#{view}[aria-busy=false]").wait_for()
    assert len(requests) > 6
    assert {urlsplit(url).netloc for url in requests} == {urlsplit(address).netloc}


async def test_token_is_good_once(page, address):
    """An address that was used opens nothing."""
    first = await page.goto(address)
    assert first.status == 200
    assert "token" not in page.url
    assert (await page.goto(address)).status == 403


async def test_a_reload_keeps_the_page(dashboard):
    """A reload keeps the pass."""
    await dashboard.reload()
    await dashboard.locator("#map[aria-busy=false] #places li").first.wait_for()


async def test_in_a_frame(page, address):
    """The page works inside an editor's frame of another origin."""
    await page.set_content(f'<iframe src="{address}" style="width: 1100px; height: 700px"></iframe>')
    await page.frame_locator("iframe").locator("#places li").first.wait_for()


async def test_without_the_pass(address):
    """Data and actions are refused to whoever has no pass."""
    origin = "http://" + urlsplit(address).netloc
    async with httpx.AsyncClient(base_url=origin) as client:
        paths = ("status", "map", "duplicates", "history")
        assert {(await client.get(f"/data/{path}")).status_code for path in paths} == {403}
        assert {(await client.post(f"/do/{deed}", json={})).status_code for deed in ("rollback", "open")} == {403}
        assert (await client.get("/", headers={"Host": "evil.example"})).status_code == 400
        assert (await client.get("/", params={"token": "guess"})).status_code == 403
        plain = await client.get("/")
    assert 'content=""' in plain.text
    assert plain.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")


async def test_policy_stops_foreign_code(dashboard):
    """A script that got into the page does not run."""
    ran = await dashboard.evaluate(
        "new Promise(done => { const script = document.createElement('script'); script.textContent = 'window.evil = 1';"
        " document.body.append(script); setTimeout(() => done(window.evil ?? 0), 50); })"
    )
    assert ran == 0
