// Numbers, sizes and times as people read them.

const plain = new Intl.NumberFormat("en");
const exactly = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
  fractionalSecondDigits: 3,
});
const day = new Intl.DateTimeFormat(undefined, {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  hourCycle: "h23",
});

let skew = 0; // ms that the clock of the server is ahead of ours

// Heeds what the server says of the time, where our clock is off by more than its answers' grain.
export function setClock(serverMs) {
  const off = serverMs - Date.now();
  skew = Math.abs(off) > 2000 ? off : 0;
}

export const now = () => Date.now() + skew;
export const count = (value) => plain.format(value);
export const many = (value, word, several = `${word}s`) =>
  `${count(value)} ${value === 1 ? word : several}`;

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) {
    value /= 1024;
    at += 1;
  }
  return `${at && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
}

// Per second: as many digits as say something.
export const rate = (value) => (value < 10 ? String(+value.toFixed(1)) : count(Math.round(value)));

// 0.042 -> "42 ms", 3 -> "3 s", 75 -> "1 min 15 s", 7500 -> "2 h 5 min"
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${+seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ""}`;
  if (whole < 86400)
    return (
      `${Math.floor(whole / 3600)} ` +
      `h${Math.floor((whole % 3600) / 60) ? ` ${Math.floor((whole % 3600) / 60)} min` : ""}`
    );
  return (
    `${Math.floor(whole / 86400)} ` +
    `d${Math.floor((whole % 86400) / 3600) ? ` ${Math.floor((whole % 86400) / 3600)} h` : ""}`
  );
}

// Counting down: "9:42", "1:05:09", "0:00"
export function countdown(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  const two = (value) => String(value).padStart(2, "0");
  if (whole >= 86400) return duration(whole);
  return whole >= 3600
    ? `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))}:${two(whole % 60)}`
    : `${Math.floor(whole / 60)}:${two(whole % 60)}`;
}

// "just now", "42 s ago", "in 9 min", and beyond a day the date itself
export function relative(ms) {
  const seconds = Math.round((ms - now()) / 1000);
  const far = Math.abs(seconds);
  if (far < 5) return seconds > 1 ? `in ${far} s` : "just now";
  if (far >= 86400) return day.format(ms);
  const words =
    far < 60
      ? `${far} s`
      : far < 3600
        ? `${Math.floor(far / 60)} min`
        : `${Math.floor(far / 3600)} h`;
  return seconds > 0 ? `in ${words}` : `${words} ago`;
}

// A day of the calendar in UTC, as 2026-11-23.
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeZone: "UTC" });
export const utcDay = (text) => calendar.format(new Date(text));

export const exact = (ms) => `${exactly.format(ms)}\n${new Date(ms).toISOString()}`;
export const clockTime = (ms) => clock.format(ms);
export const dayTime = (ms) => day.format(ms);
