// Make the children of one node equal to those of another, and touch only what differs: what stays keeps its scroll
// position, its selection and the focus.

export function morph(target, source) {
  let old = target.firstChild;
  for (let fresh = source.firstChild; fresh; ) {
    const next = fresh.nextSibling;
    if (!old) {
      target.append(fresh);
    } else {
      const after = old.nextSibling;
      if (alike(old, fresh)) become(old, fresh);
      else target.replaceChild(fresh, old);
      old = after;
    }
    fresh = next;
  }
  while (old) {
    const after = old.nextSibling;
    old.remove();
    old = after;
  }
}

const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName;

function become(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data === fresh.data) return;
    if (fresh.data.startsWith(old.data)) old.appendData(fresh.data.slice(old.data.length));
    else old.data = fresh.data;
    return;
  }
  // It may be saying "Copied" just now, and is the same in every rendering.
  if (old.dataset.copy && old.dataset.copy === fresh.dataset.copy) return;
  for (const { name } of Array.from(old.attributes)) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  morph(old, fresh);
}
