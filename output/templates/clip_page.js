"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const [list, search, kind, sort, reverse] = ["list", "search", "kind", "sort", "reverse"].map(find);
  const collator = new Intl.Collator("en", { numeric: true });
  const rows = [...list.children].map((element, order) => {
    const { kinds, findings, status, frames, motion } = element.dataset;
    return {
      element,
      order,
      status,
      kinds: kinds.split(" "),
      findings: Number(findings),
      name: element.querySelector("h3").textContent,
      frames: frames === "" ? null : Number(frames),
      motion: motion === "" ? null : Number(motion),
    };
  });

  const textOf = (row) => {
    row.text ??= [...row.element.querySelectorAll(".about, .curves, .findings")]
      .map((part) => part.textContent.toLowerCase().replace(/\s+/g, " "))
      .join(" ");
    return row.text;
  };

  const isOfKind = (row) => {
    switch (kind.value) {
      case "all": return true;
      case "any": return row.findings > 0;
      case "none": return row.findings === 0;
      case "rejected": return row.status === "rejected";
      default: return row.kinds.includes(kind.value);
    }
  };

  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const matches = isOfKind(row) && words.every((word) => textOf(row).includes(word));
      row.element.hidden = !matches;
      shown += matches;
    }
    find("count").textContent = `${shown} of ${rows.length} clips`;
    find("nothing").hidden = shown > 0;
  };

  const compare = (a, b) => {
    const key = sort.value;
    if (key === "order") return 0;
    if (key === "name") return collator.compare(a.name, b.name);
    return b[key] - a[key];
  };

  const arrange = () => {
    const key = sort.value;
    const sign = reverse.checked ? -1 : 1;
    const isKnown = (row) => key === "order" || key === "name" || row[key] !== null;
    rows.sort((a, b) => {
      if (isKnown(a) !== isKnown(b)) return isKnown(a) ? -1 : 1;
      return (isKnown(a) && sign * compare(a, b)) || sign * (a.order - b.order);
    });
    list.append(...rows.map((row) => row.element));
  };

  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(filter, 120);
  });
  kind.addEventListener("change", filter);
  sort.addEventListener("change", arrange);
  reverse.addEventListener("change", arrange);
  find("controls").addEventListener("submit", (event) => event.preventDefault());
  find("controls").hidden = false;
  filter();
})();
