"""The training job: MNIST -> noise -> denoiser and classifier -> measured, exported model versions."""
