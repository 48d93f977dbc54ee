import type { ReactNode } from 'react';
import { useSearchParams } from 'react-router-dom';
import { LASTS } from './range';

/** The search is in the address: it can be sent to somebody, and Back goes back to it. An empty
 * value takes its name out. The same search once more means: what is there by now? Then `again`. */
export function useAddress(): [URLSearchParams, (next: Record<string, string>, again: () => void) => void] {
  const [params, setParams] = useSearchParams();
  const change = (next: Record<string, string>, again: () => void) => {
    const all = new URLSearchParams(params);
    for (const [name, value] of Object.entries(next)) {
      if (value) all.set(name, value);
      else all.delete(name);
    }
    setParams(all);
    if (all.toString() === params.toString()) again();
  };
  return [params, change];
}

/** What stands in the fields of a form. */
export interface Fields {
  /** Without spaces around it. */
  text: (name: string) => string;
  has: (name: string) => boolean;
}

/** For a form that the page answers itself. */
export function submitted(then: (fields: Fields) => void) {
  return (event: React.FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const data = new FormData(event.currentTarget);
    then({
      text: (name) => {
        const value = data.get(name);
        return typeof value === 'string' ? value.trim() : '';
      },
      has: (name) => data.has(name),
    });
  };
}

/** Names to choose from; the chosen one is there even when nobody knows it. */
export function Names({ known, chosen }: { known: string[]; chosen: string }) {
  return (
    <>
      {[...new Set([...known, chosen])]
        .filter((name) => name !== '')
        .map((name) => (
          <option key={name}>{name}</option>
        ))}
    </>
  );
}

/** How far back; the chosen time is there even when it is none of the usual ones. */
export function TimeField({ name, label, minutes }: { name: string; label: string; minutes: number }) {
  return (
    <label>
      {label}
      <select name={name} defaultValue={minutes}>
        {LASTS.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
        {LASTS.every(([value]) => value !== minutes) && <option value={minutes}>{Number(minutes.toFixed(1))} minutes</option>}
      </select>
    </label>
  );
}

interface ChoiceProps {
  label: string;
  name?: string;
  value: string | number;
  choose: (value: string) => void;
  /** Its options. */
  children: ReactNode;
}

/** One of several, told as soon as it is chosen. */
export function Choice({ label, name, value, choose, children }: ChoiceProps) {
  return (
    <label>
      {label}
      <select
        name={name}
        value={value}
        onChange={(event) => {
          choose(event.target.value);
        }}
      >
        {children}
      </select>
    </label>
  );
}
