"""From the measures of many items to tables: sums, resampled intervals, and the results."""
