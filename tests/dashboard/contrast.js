// The texts on the page whose contrast with what lies behind them is below 4.5 to 1 (WCAG 2, level AA).
(() => {
  const parts = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const channel = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const behind = (element) => {
    const colour = parts(getComputedStyle(element).backgroundColor);
    const isClear = colour.length > 3 && colour[3] === 0;
    return isClear && element.parentElement ? behind(element.parentElement) : colour;
  };
  const contrast = (element) => {
    const [one, two] = [light(parts(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => b - a);
    return (one + 0.05) / (two + 0.05);
  };
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const seen = [...document.querySelectorAll("body *")].filter((element) => hasText(element) && element.checkVisibility());
  return seen.filter((element) => contrast(element) < 4.5).map((element) => element.outerHTML.slice(0, 120));
})()
