// The page at /api/docs: Swagger UI over our schema. A key that is typed in stays in this tab.

const root = document.getElementById("docs");

// Its dark colours hang on a class, and nothing there looks at what the reader's system prefers.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

function cookie(name) {
  const entry = document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`));
  return entry ? decodeURIComponent(entry.slice(name.length + 1)) : "";
}

window.SwaggerUIBundle({
  domNode: root,
  url: root.dataset.schema,
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  tryItOutEnabled: false,
  validatorUrl: null,
  // Who is signed in on this site may try things without a key: a change then needs the page's token.
  requestInterceptor(request) {
    const token = cookie(root.dataset.csrfCookie);
    if (token && new URL(request.url, location.href).origin === location.origin) {
      request.headers["X-CSRFToken"] = token;
    }
    return request;
  },
});
