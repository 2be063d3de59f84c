'use strict';
(() => {
  const make = (name, text, before) => {
    const element = document.createElement(name);
    element.textContent = text;
    if (before) before.append(element);
    return element;
  };

  // Table of all cells: sorted by a click on a head, filtered by a word.
  const table = document.getElementById('cells');
  const body = table.tBodies[0];
  const initial = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, column) => {
    const cell = row.cells[column];
    if (!cell || cell.colSpan > 1) return null;
    const value = cell.dataset.v;
    return value === undefined ? cell.textContent : Number(value);
  };
  const compare = (one, other) => {
    if (one === null || other === null) return (one === null) - (other === null);
    const numbers = typeof one === 'number' && typeof other === 'number';
    if (!numbers && typeof one !== typeof other) return typeof one === 'number' ? -1 : 1;
    return numbers ? one - other : one.localeCompare(other);
  };
  heads.forEach((head, column) => {
    const button = make('button', head.textContent);
    button.type = 'button';
    head.replaceChildren(button);
    button.addEventListener('click', () => {
      const now = head.getAttribute('aria-sort');
      const next = now === 'ascending' ? 'descending' : now === 'descending' ? null : 'ascending';
      heads.forEach((other) => other.removeAttribute('aria-sort'));
      const rows = [...initial];
      if (next) {
        head.setAttribute('aria-sort', next);
        const sign = next === 'ascending' ? 1 : -1;
        rows.sort((one, other) => {
          const [left, right] = [key(one, column), key(other, column)];
          return (left === null || right === null ? 1 : sign) * compare(left, right);
        });
      }
      body.append(...rows);
    });
  });

  const label = make('label', 'Rungs and loads with ');
  label.className = 'filter';
  const input = make('input', '', label);
  input.type = 'search';
  input.placeholder = 'tonic 8 B';
  const count = make('output', '', label);
  input.addEventListener('input', () => {
    const words = input.value.toLowerCase().split(/\s+/);
    let shown = 0;
    initial.forEach((row) => {
      const text = (row.cells[0].textContent + ' ' + row.cells[1].textContent).toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    });
    count.textContent = input.value ? ` ${shown} of ${initial.length}` : '';
  });
  table.parentElement.before(label);

  // Downloads of figures and pictures.
  const link = (text, name, type, content) => {
    const anchor = make('a', text);
    anchor.download = name;
    anchor.href = '#';
    anchor.addEventListener('click', () => {
      anchor.href = URL.createObjectURL(new Blob([content()], { type }));
      setTimeout(() => {
        URL.revokeObjectURL(anchor.href);
        anchor.href = '#';
      }, 1000);
    });
    return anchor;
  };
  document.querySelectorAll('details.data').forEach((details) => {
    const figure = details.closest('figure');
    const name = figure ? figure.id : 'counts';
    const csv = details.querySelector('pre').textContent;
    const links = make('p', '');
    links.className = 'links';
    links.append(link('CSV', name + '.csv', 'text/csv', () => csv));
    const svg = figure && figure.querySelector('svg');
    if (svg) {
      links.append(link('SVG', name + '.svg', 'image/svg+xml', () => {
        const copy = svg.cloneNode(true);
        copy.setAttribute('width', '560');
        const style = document.createElementNS(copy.namespaceURI, 'style');
        style.textContent = document.querySelector('style').textContent;
        copy.prepend(style);
        return new XMLSerializer().serializeToString(copy);
      }));
    }
    details.append(links);
  });

  // A link to a part that is folded opens it, and printing opens all.
  window.addEventListener('beforeprint', () => {
    document.querySelectorAll('details:not(.data)').forEach((part) => { part.open = true; });
  });
})();
