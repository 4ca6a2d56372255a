//! The series of one metric, in an order of their own: the library's own families have none, and people read
//! this too.

use std::fmt;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Names and values of labels. They are known here, so that there are no more series than these.
pub(super) type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Series with `N` labels.
#[derive(Debug)]
pub(super) struct Series<const N: usize, M>(Vec<(Labels<N>, M)>);

impl<const N: usize, M> Series<N, M> {
    pub(super) fn of(series: impl IntoIterator<Item = (Labels<N>, M)>) -> Self {
        Self(series.into_iter().collect())
    }
}

impl<const N: usize, M: TypedMetric> TypedMetric for Series<N, M> {
    const TYPE: MetricType = M::TYPE;
}

impl<const N: usize, M: EncodeMetric + TypedMetric> EncodeMetric for Series<N, M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (labels, metric) in &self.0 {
            metric.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }
}
