"""A local server for development that speaks TensorFlow Serving's protocols.

engine   SavedModels in memory: versions, signatures, checked inputs
service  calls of the engine within limits of time and number, counted
rest     TensorFlow Serving's REST predict API over a service
rpc      its gRPC services PredictionService and ModelService over a service
server   both on one event loop
"""
