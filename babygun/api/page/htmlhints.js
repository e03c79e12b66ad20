// What of an e-mail's HTML some mail programs will not show. A small table, which looks at the text
// alone: it may miss things, and now and then names one that does no harm.

const CLIPPED = 102 * 1024; // bytes of HTML, after which Gmail cuts

const HINTS = [
  [
    /display\s*:\s*(inline-)?(flex|grid)/i,
    "flex or grid",
    "Outlook for Windows puts all parts below each other",
  ],
  [/position\s*:\s*(absolute|fixed|sticky)/i, "position", "most programs ignore it"],
  [
    /background(-image)?\s*:[^;"}]*url\(|\sbackground=/i,
    "background pictures",
    "Outlook for Windows leaves them out",
  ],
  [/<svg|\.svg["'?]/i, "SVG", "Gmail and Outlook show none"],
  [/\.webp["'?]/i, "WebP pictures", "Outlook for Windows shows none"],
  [
    /src\s*=\s*["']data:/i,
    "pictures in data: addresses",
    "Gmail and Outlook show none: attach them, and name them by cid:",
  ],
  [/<(form|input|textarea|select|button)\b/i, "forms", "most programs remove them"],
  [/<script/i, "scripts", "every program removes them"],
  [
    /<(video|audio|iframe|object|embed)\b/i,
    "video, audio and frames",
    "nearly all programs remove them",
  ],
  [
    /<link\b[^>]*stylesheet/i,
    "a style sheet elsewhere",
    "most programs don't load it: write it into the e-mail",
  ],
  [/@font-face|fonts\.googleapis/i, "fonts of your own", "most programs take another one"],
  [/var\(\s*--/i, "CSS variables", "Outlook and Yahoo ignore what uses them"],
  [/border-radius/i, "round corners", "Outlook for Windows draws square ones"],
  [/@media/i, "media queries", "some programs ignore them, Gmail's for other accounts too"],
];

// [[what, what happens], …]
export function hints(html) {
  const found = HINTS.filter(([pattern]) => pattern.test(html)).map(([, what, why]) => [what, why]);
  const pictures = (html.match(/<img\b/gi) ?? []).length;
  const described = (html.match(/<img\b[^>]*\salt\s*=/gi) ?? []).length;
  if (pictures > described)
    found.push(["pictures without alt", "many programs show that text alone"]);
  if (new Blob([html]).size > CLIPPED) found.push(["its length", "Gmail cuts after 102 KB"]);
  return found;
}
