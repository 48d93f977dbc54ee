import { useSyncExternalStore } from 'react';

export type Theme = 'light' | 'dark';

const KEY = 'theme';
const dark = window.matchMedia('(prefers-color-scheme: dark)');
const listeners = new Set<() => void>();

function chosen(): Theme | null {
  const value = localStorage.getItem(KEY);
  return value === 'light' || value === 'dark' ? value : null;
}

function current(): Theme {
  return chosen() ?? (dark.matches ? 'dark' : 'light');
}

/** Says on the root element what the style sheet goes by. */
export function applyTheme(): void {
  document.documentElement.dataset['theme'] = current();
}

export function setTheme(theme: Theme): void {
  localStorage.setItem(KEY, theme);
  changed();
}

function changed(): void {
  applyTheme();
  for (const listener of listeners) listener();
}

dark.addEventListener('change', changed);

/** The theme in use: the chosen one, else the machine's. */
export function useTheme(): Theme {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, current);
}
