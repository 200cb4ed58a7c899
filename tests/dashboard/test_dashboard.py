"""The dashboard in a real browser: real data, keyboard, both themes, the way back, and who may see it."""

import json
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from codekin.daemon.client import AsyncClient

INSTANCE = "echarts.getInstanceByDom(document.getElementById('chart'))"
CHART = f"{INSTANCE}.getOption()"
VIEWS = ("map", "duplicates", "index", "learning")
LOW_CONTRASTS = (Path(__file__).parent / "contrast.js").read_text()
NAMELESS = """[...document.querySelectorAll('button, input, select')].filter(part =>
  !(part.textContent.trim() || part.labels?.length || part.getAttribute('aria-label')))"""

pytestmark = [pytest.mark.editor, pytest.mark.timeout(600)]


async def test_map_shows_the_code(dashboard, sample):
    """The map would be empty, or the header would tell another folder than the one that was asked for."""
    count = await dashboard.locator("#count").inner_text()
    assert int(count.split()[0]) > 50
    assert await dashboard.locator("#root").inner_text() == "storehouse"
    assert await dashboard.locator("#root").get_attribute("title") == str(sample)
    series = await dashboard.evaluate(f"{CHART}.series.map(s => [s.name, s.data.length])")
    assert {"elixir", "cpp"} <= {name for name, _ in series}
    assert sum(many for _, many in series) == int(count.split()[0])


async def test_colours_follow_the_choice(dashboard):
    """The choice of what the colours mean would do nothing."""
    for choice, known in (("module", {"lib/storehouse", "src"}), ("pattern", {"GenServer", "handle_call"})):
        await dashboard.locator("#colour").select_option(choice)
        names = await dashboard.evaluate(f"{CHART}.series.map(s => s.name)")
        assert known & set(names), names


async def test_search_narrows_the_places(dashboard):
    """Typing a name would not narrow the list beside the map, or the map would not show where they are."""
    await dashboard.locator("#needle").fill("with_backoff")
    places = await dashboard.locator("#places button").all_inner_texts()
    assert (await dashboard.locator("#count").inner_text()).startswith(f"{len(places)} of ")
    assert places
    assert all("backoff" in place or "retry" in place for place in places)
    bright = f"{CHART}.series.flatMap(s => s.data).filter(d => !d.itemStyle).length"
    assert await dashboard.evaluate(bright) == len(places)
    await dashboard.locator("#places button").first.focus()
    await dashboard.locator("#chart").get_by_text(" · function").wait_for()


async def test_a_point_tells_what_it_is_and_a_search_keeps_the_zoom(dashboard):
    """A point under the mouse would be nameless, or each letter of a search would throw the map back."""
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
    """A view could not be reached without a mouse, or what it shows would be missing."""
    await dashboard.locator("#tab-map").focus()
    for view, text in (("duplicates", "SecondRetry"), ("index", "huge.ex"), ("learning", "MAP")):
        await dashboard.keyboard.press("ArrowRight")
        await dashboard.locator(f"#{view}[aria-busy=false]").get_by_text(text).first.wait_for()
        assert await dashboard.evaluate("document.activeElement.id") == f"tab-{view}"
        assert await dashboard.locator("section:visible").count() == 1
    await dashboard.keyboard.press("ArrowRight")
    await dashboard.keyboard.press("Tab")
    assert await dashboard.evaluate("document.activeElement.id") == "needle"


async def test_index_gives_reasons(dashboard):
    """A file that is left out would stand there without its reason."""
    await dashboard.locator("#tab-index").click()
    reason = dashboard.locator("#index details", has_text="huge.ex")
    assert len((await reason.locator("summary").inner_text()).split()) > 1


async def test_index_tells_how_completions_fare(dashboard, data, sample):
    """What became of the suggestions would not be told."""
    client = await AsyncClient.connect(data)
    text = "defmodule Storehouse.Session do\n  use Gen"
    asked = {"root": str(sample), "path": "lib/new.ex", "text": text, "line": 2, "column": 9, "wait": True}
    (item, *_) = (await client.post("/complete", {**asked, "trigger": "invoked"}))["items"]
    for event in ("shown", "accepted"):
        assert (await client.post("/complete/events", {"root": str(sample), "id": item["id"], "event": event}))["known"]
    await client.close()
    await dashboard.locator("#tab-index").click()
    await dashboard.get_by_text("1 of 1 accepted (100 %)").wait_for()


async def test_learning_tells_gain_interval_loss_and_decision(dashboard):
    """A night's figures would be in the picture alone, where not everybody can read them."""
    await dashboard.locator("#tab-learning").click()
    row = await dashboard.locator("#runs tr", has_text="0.560").inner_text()
    for words in ("0.490 → 0.560", "+7.0 points (+5.0 to +9.0)", "0.067", "activated"):
        assert words in row
    drawn = "echarts.getInstanceByDom(document.getElementById('nights')).getOption().series.map(s => s.name)"
    assert {"before", "after", "interval", "loss"} <= set(await dashboard.evaluate(drawn))
    interval = drawn.replace("map(s => s.name)", "find(s => s.name === 'interval')")
    assert await dashboard.evaluate(f"{interval}.data") == pytest.approx([0.04, 0.05, 0.04])
    assert await dashboard.evaluate(f"{interval}.type") == "bar", "a line would not show the only night's"


async def test_both_themes(page, address):
    """The page would not follow the system's theme, or the button would not change it."""
    await page.emulate_media(color_scheme="dark")
    await page.goto(address)
    await page.locator("html[data-theme=dark]").wait_for()
    dark = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    await page.locator("#theme").press("Enter")
    await page.locator("html[data-theme=light]").wait_for()
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") != dark


async def test_an_editor_chooses_the_theme(page, address):
    """The page would be light in a dark editor."""
    await page.emulate_media(color_scheme="light")
    await page.goto(f"{address}&theme=dark")
    await page.locator("html[data-theme=dark]").wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_everything_can_be_read(page, address, theme):
    """A text would be too faint, a control nameless, or a small window would have to be moved sideways."""
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
    """A view that waits for its data would look empty."""
    await page.route("**/data/map*", lambda route: None)
    await page.goto(address)
    await page.locator("#map[aria-busy=true]").wait_for()
    said = await page.evaluate("getComputedStyle(document.getElementById('map'), '::before').content")
    assert "Loading" in said


async def test_an_empty_map_says_why(page, address):
    """Before there are vectors, the map would be an empty field."""
    await page.route("**/data/map*", lambda route: route.fulfill(json={"points": [], "total": 0}))
    await page.goto(address)
    await page.get_by_text("There is nothing to draw yet").wait_for()


async def test_rollback(dashboard, codekin, sample):
    """A click on the way back would leave the model as it was, or the page would go on telling the old one."""
    await dashboard.locator("#tab-learning").click()
    await dashboard.get_by_role("button", name="Go back to this").first.click()
    await dashboard.get_by_role("alert").get_by_text("is searched with checkpoint").wait_for()
    assert json.loads(codekin("history", sample, "--json"))["active"] != "base"
    await dashboard.get_by_role("button", name="Go back to the model as it came").click()
    await dashboard.get_by_role("alert").get_by_text("the model as it came").wait_for()
    await dashboard.get_by_text("The model as it came is active.").wait_for()
    assert json.loads(codekin("history", sample, "--json"))["active"] == "base"


async def test_a_click_reaches_the_editor(dashboard, data, sample):
    """A place that was clicked would not be shown by the editor that has the folder open."""
    client = await AsyncClient.connect(data)
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
    """The page would ask another host for something."""
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(address)
    for view in VIEWS:
        await page.locator(f"#tab-{view}").click()
        await page.locator(f"#{view}[aria-busy=false]").wait_for()
    assert len(asked) > 6
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(address).netloc}


async def test_token_is_good_once(page, address):
    """Whoever finds the address in a history could open the page again."""
    first = await page.goto(address)
    assert first.status == 200
    assert "token" not in page.url
    assert (await page.goto(address)).status == 403


async def test_a_reload_keeps_the_page(dashboard):
    """A reload would shut the user out."""
    await dashboard.reload()
    await dashboard.locator("#map[aria-busy=false] #places li").first.wait_for()


async def test_in_a_frame(page, address):
    """The page would stay empty inside an editor, which shows it in a frame of another origin."""
    await page.set_content(f'<iframe src="{address}" style="width: 1100px; height: 700px"></iframe>')
    await page.frame_locator("iframe").locator("#places li").first.wait_for()


async def test_without_the_pass(address):
    """Data or deeds would be open to any other program or page on the machine."""
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
    """Text from a repository that slipped into the page as markup could run as code."""
    ran = await dashboard.evaluate(
        "new Promise(done => { const script = document.createElement('script'); script.textContent = 'window.evil = 1';"
        " document.body.append(script); setTimeout(() => done(window.evil ?? 0), 50); })"
    )
    assert ran == 0
