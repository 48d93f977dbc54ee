import { ThemeProvider, createTheme } from '@mui/material';
import { ChartsProvider, SnackbarProvider, generateChartsTheme, getTheme } from '@perses-dev/components';
import { useMemo } from 'react';
import type { ReactNode } from 'react';
import { useTheme } from '../theme';

/** The style sheet's colours, for what does not go by it. */
const COLOURS = {
  light: { background: { default: '#f4f6f9', paper: '#ffffff' }, text: { primary: '#17202b', secondary: '#5a6675' }, divider: '#d9dfe7' },
  dark: { background: { default: '#18202a', paper: '#18202a' }, text: { primary: '#e5ebf2', secondary: '#9babbd' }, divider: '#2c3846' },
};

/** The surroundings of Perses' components. */
export default function Perses({ children }: { children: ReactNode }) {
  const mode = useTheme();
  const theme = useMemo(() => createTheme(getTheme(mode), { palette: COLOURS[mode] }), [mode]);
  const charts = useMemo(() => generateChartsTheme(theme, {}), [theme]);
  return (
    <ThemeProvider theme={theme}>
      <ChartsProvider chartsTheme={charts}>
        <SnackbarProvider>{children}</SnackbarProvider>
      </ChartsProvider>
    </ThemeProvider>
  );
}
