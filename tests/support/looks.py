"""A page as a person sees it: texts that are cut off or can hardly be read; measured in the browser."""

from typing import Any

from playwright.sync_api import Locator

# Finds elements with text of their own that is wider than the room for it, or that leaves the page (but no blocks of
# code that scroll), and text on a background of too little contrast by WCAG 2.1.
_MEASURE = """
root => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const colour = css => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data; return [r, g, b, a / 255];
  };
  const over = (top, back) => [0, 1, 2].map(i => top[i] * top[3] + back[i] * (1 - top[3]));
  const linear = value => value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4;
  const light = parts => {
    const [r, g, b] = parts.map(one => linear(one / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const background = element => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(colour(getComputedStyle(one).backgroundColor));
    const page = getComputedStyle(document.documentElement).colorScheme.includes('dark')
      && matchMedia('(prefers-color-scheme: dark)').matches ? [18, 18, 18] : [255, 255, 255];
    return layers.reverse().reduce((back, layer) => over(layer, back), page);
  };
  const cut = [], pale = [];
  for (const one of [root, ...root.querySelectorAll('*')]) {
    const texts = [...one.childNodes].filter(child => child.nodeType === 3);
    const own = texts.map(child => child.textContent.trim()).join(' ').trim();
    const box = one.getBoundingClientRect(), style = getComputedStyle(one);
    if (!box.width || !box.height || style.visibility === 'hidden' || one.closest('svg')) continue;
    const block = one.closest('pre');
    const scrolls = block && ['auto', 'scroll'].includes(getComputedStyle(block).overflowX);
    const leaves = box.right > document.documentElement.clientWidth + 1;
    const hides = one.scrollWidth > one.clientWidth + 1 && style.display !== 'inline' && style.overflowX !== 'visible';
    if (own && !scrolls && (hides || leaves)) cut.push(`${one.tagName} ${own.slice(0, 60)}`);
    if (!own || one.disabled) continue;
    const back = background(one), front = over(colour(style.color), back);
    const [high, low] = [light(front), light(back)].sort((a, b) => b - a);
    const ratio = (high + .05) / (low + .05);
    if (ratio < 4.5) pale.push(`${own.slice(0, 60)} (${ratio.toFixed(1)})`);
  }
  return {cut, pale};
}
"""


def measure(part: Locator) -> dict[str, list[str]]:
    """Return the texts of a part of a page that are cut off (`cut`), and those of too little contrast (`pale`)."""
    found: Any = part.evaluate(_MEASURE)
    return {"cut": list(found["cut"]), "pale": list(found["pale"])}


NOTHING: dict[str, list[str]] = {"cut": [], "pale": []}
