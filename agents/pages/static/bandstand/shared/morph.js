// Make the children of one node equal to those of another, and touch only what differs: what stays keeps its scroll
// position, its selection and the focus. An element with an id becomes no other one: what somebody types into it, or is about
// to press in it, is not meant for what comes in its place.

export function morph(target, source) {
  let old = target.firstChild;
  for (let fresh = source.firstChild; fresh; ) {
    const next = fresh.nextSibling;
    const same = fresh.id ? find(fresh.id, old) : null;
    if (same) while (old !== same) old = remove(old);
    if (!old) {
      target.append(fresh);
    } else if (old.id && old.id !== fresh.id) {
      target.insertBefore(fresh, old); // it may come later
    } else {
      const after = old.nextSibling;
      if (alike(old, fresh)) become(old, fresh);
      else target.replaceChild(fresh, old);
      old = after;
    }
    fresh = next;
  }
  while (old) old = remove(old);
}

// The node with this id, `node` or one behind it; null if there is none.
function find(id, node) {
  while (node && node.id !== id) node = node.nextSibling;
  return node;
}

// Remove a node, and return the next one.
function remove(node) {
  const after = node.nextSibling;
  node.remove();
  return after;
}

const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.id === b.id;

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
