// The curl command that sends an e-mail, as Compose shows it.

// As one word of a POSIX shell.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// `request`: the body of POST /emails. `files`: its attachments; the command reads each from a file
// of that name.
export function curl(request, files) {
  const body = { ...request };
  if (files.length)
    body.attachments = files.map(({ filename, content_type }, index) => ({
      filename,
      content_type,
      content: `\u0000${index}\u0000`,
    }));
  let data = quoted(JSON.stringify(body, null, 2));
  files.forEach(
    ({ filename }, index) =>
      (data = data.replace(
        `\\u0000${index}\\u0000`,
        () => `'"$(base64 -w0 ${quoted(filename).replace(/^'-/, "'./-")})"'`,
      )),
  );
  const { origin } = location;
  return [
    `TOKEN=$(curl -s -X POST -u "$CLIENT:$SECRET" \\\n  ${origin}/tokens |\n` +
      `  sed -n 's/.*"token": *"\\([^"]*\\)".*/\\1/p')`,
    `curl ${origin}/emails \\\n  -H "Authorization: Bearer $TOKEN" \\\n` +
      `  -H "Content-Type: application/json" \\\n  -d ${data}`,
  ].join("\n\n");
}
