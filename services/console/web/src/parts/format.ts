/** Microseconds, for a person. */
export function micros(value: number): string {
  if (value < 1_000) return `${Math.round(value)} µs`;
  if (value < 1_000_000) return `${digits(value / 1_000)} ms`;
  return seconds(value / 1_000_000);
}

/** Seconds, for a person. */
export function seconds(value: number): string {
  if (value < 1e-3) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${digits(value * 1e3)} ms`;
  if (value < 60) return `${digits(value)} s`;
  const whole = Math.round(value);
  const [days, hours, minutes] = [Math.floor(whole / 86_400), Math.floor(whole / 3_600) % 24, Math.floor(whole / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return `${minutes} min ${whole % 60} s`;
}

/** A number with three digits that count. */
export function digits(value: number): string {
  if (value === 0) return '0';
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(3)));
}

/** Bytes, for a person. */
export function bytes(value: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB'];
  let [size, unit] = [value, 0];
  while (Math.abs(size) >= 1024 && unit < units.length - 1) [size, unit] = [size / 1024, unit + 1];
  return `${digits(size)} ${units[unit] ?? ''}`;
}

export function rate(value: number): string {
  if (value < 0.001) return '0/s';
  if (value < 0.1) return '<0.1/s';
  return `${value < 10 ? String(Number(value.toFixed(1))) : digits(Math.round(value))}/s`;
}

export function percent(share: number): string {
  if (share > 0 && share < 0.0005) return '<0.1 %';
  return `${Number((share * 100).toFixed(1))} %`;
}

/** Milliseconds since 1970 as the time of day; with the day when it is not today. */
export function clock(ms: number, withMillis = false): string {
  const date = new Date(ms);
  const time = date.toLocaleTimeString('en-GB');
  const day = date.toDateString() === new Date().toDateString() ? '' : `${date.toLocaleDateString('en-CA')} `;
  const fraction = withMillis ? `.${String(date.getMilliseconds()).padStart(3, '0')}` : '';
  return `${day}${time}${fraction}`;
}

export function ago(ms: number): string {
  const passed = (Date.now() - ms) / 1000;
  return passed < 1 ? 'now' : `${seconds(Math.round(passed))} ago`;
}

/** How long it has been, from a moment in seconds since 1970. */
export function since(moment: number): string {
  return seconds(Math.max(0, Math.round(Date.now() / 1000 - moment)));
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en')} ${count === 1 ? one : many}`;
}
