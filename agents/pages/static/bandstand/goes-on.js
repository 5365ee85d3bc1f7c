// A long act of an operator: sends the page's form again until the server has nothing left to do.
const form = document.querySelector("form[data-goes-on]");
if (form) form.requestSubmit();
